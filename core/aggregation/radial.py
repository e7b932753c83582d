"""Functions of the distance as modules, so that something faster can take the place of each."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class RadialFunction(nn.Module, ABC):
    """C functions of the distance of two atoms, and of nothing else.

    A stage that weights messages with such functions owns them as a module of this kind and hands it to
    `Block.convolve`. Whoever replaces it by a table or by a kernel then knows all that it has to hold to.

    Attributes:
        start: Å, the shortest distance at which the functions are smooth and may be asked for.
        end: Å, the distance from which on they are constant, most often zero; infinite if there is none.
        channels: C.
    """

    start: float
    end: float
    channels: int

    @abstractmethod
    def forward(self, distances: Tensor) -> Tensor:
        """The exact values, distances [...] in Å → [..., C]; differentiable to any order."""

    # nn.Module.__call__ is untyped; this keeps callers typed.
    def __call__(self, distances: Tensor) -> Tensor:
        """Run hooks and `forward`."""
        result: Tensor = super().__call__(distances)
        return result
