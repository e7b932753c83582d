"""One hop of message passing, as a stage sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum

from torch import Tensor


class Form(StrEnum):
    """How the edges of a block are laid out; written ``[...]`` in shapes."""

    EDGES = "edges"  # [...] = (E,), sorted by receiver
    TABLE = "table"  # [...] = (n_out, k), padded rows of neighbours


class Block(ABC):
    """A message-flow block: ``n_in`` atoms are read, the first ``n_out`` of them are written.

    On a whole structure the two are equal; in a part, atoms are ordered by their distance in hops from the
    owned ones, so that every layer works on a prefix. A stage written with these five operations runs in both
    forms, differentiates to any order, and never sees how many processes there are.

    Attributes:
        n_in: atoms whose values can be read.
        n_out: atoms that receive messages.
        vectors: [..., 3], Å, from receiver to sender. Zero where padded.
        mask: [...] of ones and zeros in the dtype of ``vectors``, or None where nothing is padded.
    """

    n_in: int
    n_out: int
    vectors: Tensor
    mask: Tensor | None

    @abstractmethod
    def at_senders(self, values: Tensor) -> Tensor:
        """Read values (n_in, C) at the sender of each edge: [..., C]."""

    @abstractmethod
    def at_receivers(self, values: Tensor) -> Tensor:
        """Read values (n_in, C) or (n_out, C) at the receiver of each edge: [..., C]."""

    @abstractmethod
    def sum(self, messages: Tensor) -> Tensor:
        """Add up messages [..., C] at their receivers: (n_out, C). Padded edges add nothing."""

    @abstractmethod
    def targets(self, values: Tensor) -> Tensor:
        """Keep the rows of the receivers: (n_in, C) → (n_out, C)."""

    def lengths(self) -> Tensor:
        """Edge lengths [...] in Å. Padded edges count as 1 Å long, so that nothing divides by zero."""
        squares = (self.vectors * self.vectors).sum(-1)
        return (squares if self.mask is None else squares + (1.0 - self.mask)).sqrt()
