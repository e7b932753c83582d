"""How ranks tell each other the state of atoms that lie in each other's halo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from torch import Tensor


class Links(ABC):
    """The connections of one rank. Every rank calls the same methods in the same order."""

    @abstractmethod
    def forward(self, rows: Tensor) -> None:
        """Fill the halo rows of (n, ...) with those of their owners, in place."""

    @abstractmethod
    def backward(self, rows: Tensor) -> None:
        """Add the halo rows of (n, ...) to their owners' rows, in the order of ranks, and clear them, in place."""


@final
class NoLinks(Links):
    """Of a rank that is alone: it has no halo."""

    def forward(self, rows: Tensor) -> None:
        """See `Links.forward`."""

    def backward(self, rows: Tensor) -> None:
        """See `Links.backward`."""
