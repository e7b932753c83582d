"""What is to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One measurement; plain values, so that it can be sent to another process.

    Attributes:
        model: name in a zoo, or path.
        prune: message-passing layers to keep, or a pruner with options; None to keep all.
        backend: executor with options.
        dtype: of the network.
        device: where to run.
        atoms: how many; a structure is repeated until it has at least as many.
        density: atoms/Å³ of the structure that is made up.
        structure: file whose last frame is repeated; None to make one up.
        steps: of dynamics that are timed.
        compress: whether tables take the place of radial functions, but not in the reference.
    """

    model: str
    prune: int | str | None
    backend: str
    dtype: str
    device: str
    atoms: int
    density: float
    structure: str | None
    steps: int
    compress: bool = False
