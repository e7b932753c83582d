"""A potential out of a folder as MatGL publishes them."""

from __future__ import annotations

from pathlib import Path

from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.potential.potential import Potential
from halocline.zoo.foreign import read_matgl


def converted(folder: Path) -> Potential:
    """Read and convert, in memory.

    Args:
        folder: with ``model.json`` and ``state.pt``.
    """
    foreign = read_matgl(folder)
    convert = registry().load("converter", "matgl")
    return build_potential(convert(foreign.config, foreign.tensors))
