"""What is read from a foreign file, and what any such model must be."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from halocline.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """A model in the words of the package that made it.

    Attributes:
        dialect: the package, ``matgl``, ``mattersim`` or ``mace``.
        config: its hyper-parameters under its names; plain JSON values.
        tensors: its weights and constants under its names, each with memory of its own.
        facts: where it was read from, for the card: ``files`` (name → SHA-256) and what the file says of itself.
    """

    dialect: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def check_blocks(path: Path, tensors: Mapping[str, Tensor], blocks: int) -> None:
    """Check that there can be so many blocks, before anything is listed for each.

    Raises:
        CheckpointError: the file has fewer tensors than blocks.
    """
    if blocks > len(tensors):
        raise CheckpointError(
            f"The hyper-parameters ask for {blocks} blocks, but {path} has only {len(tensors)} tensors."
        )


def check_tensors(path: Path, tensors: Mapping[str, Tensor], layout: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a file has the tensors that its hyper-parameters ask for, and no others.

    Args:
        path: the file, for messages.
        tensors: what it has.
        layout: name → shape.

    Raises:
        CheckpointError: one is missing, not known, of another shape, or holds something else than finite numbers.
    """
    for name in layout:
        if name not in tensors:
            raise CheckpointError(f"{path} has no tensor {name}, which its hyper-parameters ask for.")
    for name, tensor in tensors.items():
        if name not in layout:
            raise CheckpointError(
                f"{path} has a tensor {show(name)}, for which its hyper-parameters have no place."
            )
        if tuple(tensor.shape) != layout[name]:
            raise CheckpointError(
                f"The tensor {name} in {path} has the shape {tuple(tensor.shape)}; "
                f"its hyper-parameters ask for {layout[name]}."
            )
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise CheckpointError(f"The tensor {name} in {path} holds something else than finite numbers.")


def show_name(name: str) -> str:
    """The name of a class for a message, whole unless it is none."""
    return repr(name) if re.fullmatch(r"[\w.]{1,100}", name, re.ASCII) else show(name)


def show(value: Any) -> str:
    """A value out of a file for a message: never longer than a line, however it is nested."""
    return reprlib.repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
