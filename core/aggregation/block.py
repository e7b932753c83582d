"""One hop of message passing, as a stage sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from enum import StrEnum

from torch import Tensor

from halocline.aggregation.sets import QuadrupletBlock, TripletBlock
from halocline.errors import BackboneError


class Form(StrEnum):
    """How the edges of a block are laid out; written ``[...]`` in shapes."""

    EDGES = "edges"  # [...] = (E,), sorted by receiver
    TABLE = "table"  # [...] = (n_out, k), padded rows of neighbours


class Block(ABC):
    """A message-flow block: ``n_in`` atoms are read, the first ``n_out`` of them are written.

    On a whole structure the two are equal; in a part, atoms are ordered by their distance in hops from the
    owned ones, so that every layer works on a prefix. A stage written with these operations runs in both
    forms, differentiates to any order, and never sees how many processes there are.

    Values have any number of trailing axes, written ``*``: none, channels (C,), or for example (m, C) with the
    components m of irreducible representations. Their sizes belong to the model, never to the structure.

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
        """Read values (n_in, *) at the sender of each edge: [..., *]."""

    @abstractmethod
    def at_receivers(self, values: Tensor) -> Tensor:
        """Read values (n_in, *) or (n_out, *) at the receiver of each edge: [..., *]."""

    @abstractmethod
    def sum(self, messages: Tensor) -> Tensor:
        """Add up messages [..., *] at their receivers: (n_out, *). Padded edges add nothing."""

    @abstractmethod
    def sum_at_senders(self, messages: Tensor) -> Tensor:
        """Add up messages [..., *] at the senders instead: (n_in, *). Padded edges add nothing.

        Complete only for atoms whose every edge as a sender ends in this block: with a symmetric neighbour rule,
        those of the next hop level inwards.
        """

    @abstractmethod
    def own(self, values: Tensor) -> Tensor:
        """Keep the edges of this block's receivers, of edge values [..., *] written on a block of more of them."""

    @abstractmethod
    def targets(self, values: Tensor) -> Tensor:
        """Keep the rows of the receivers: (n_in, *) → (n_out, *)."""

    @abstractmethod
    def rows(self, values: Tensor, most: int) -> Tensor:
        """Edge values [..., *] of each receiver side by side, zeros after them: (n_out, k, *).

        For what is dense among the edges of one atom, such as attention. In tables k is their width.

        Args:
            values: of the edges.
            most: k of flat edges; no receiver has more of them, as a rule `Nearest` with no more neighbours sees
                to.
        """

    @abstractmethod
    def from_rows(self, rows: Tensor) -> Tensor:
        """Values (n_out, k, *) laid out by `rows`, of each edge: [..., *]."""

    @abstractmethod
    def radial(self, function: Callable[..., Tensor], kinds: Tensor | None = None) -> Tensor:
        """Apply a function of the distance, (M,) or [...] in Å → (M, C) or [..., C], to every edge: [..., C].

        Both directions of a pair have one length. Where the block knows the pairs it evaluates each of them once,
        which halves the cost of models whose radial network dominates.

        Args:
            function: best a `RadialFunction`.
            kinds: (n_in,) int64, of atoms, for a `RadialFunction` with `RadialFunction.pairs`.
        """

    def convolve(
        self,
        values: Tensor,
        radial: Callable[..., Tensor] | Tensor,
        angular: Tensor | None = None,
        kinds: Tensor | None = None,
    ) -> Tensor:
        """Gather values at senders, weight them, and add them up at receivers.

        Receiver i gets Σ_j w(r_ij) v_j, or Σ_j a_ij ⊗ w(r_ij) v_j with an angular factor. This is the definition;
        what does the same faster must agree with it.

        Args:
            values: v, (n_in, *), of the senders.
            radial: w, a function of the distance in Å as for `radial`, best a `RadialFunction`; or its values on
                every edge, [..., *]. It may lack leading ones of the trailing axes: (C,) for values (m, C).
            angular: a, [..., M], such as spherical harmonics of the edges' directions.
            kinds: (n_in,), as for `radial`.

        Returns:
            (n_out, *), or (n_out, M, *) with an angular factor.
        """
        edges = self.vectors.ndim - 1
        messages = self.at_senders(values)
        weights = radial if isinstance(radial, Tensor) else self.radial(radial, kinds)
        messages = messages * weights[(slice(None),) * edges + (None,) * (messages.ndim - weights.ndim)]
        if angular is not None:
            messages = messages.unsqueeze(edges) * angular[(..., *(None,) * (values.ndim - 1))]
        return self.sum(messages)

    @abstractmethod
    def within(self, rule: Hashable) -> Block:
        """The block of those edges that one rule of a model with several keeps; see `StageSpec.neighbours`.

        Flat edges are fewer then; tables keep their shape, and mask the others. Values of edges belong to the
        block that they were computed on.

        Raises:
            BackboneError: no stage declares the rule.
        """

    @abstractmethod
    def select(self, values: Tensor, rule: Hashable) -> Tensor:
        """Values [..., *] of the edges of this block, for those that `within` keeps for a rule.

        Raises:
            BackboneError: no stage declares the rule.
        """

    @abstractmethod
    def spread(self, values: Tensor, rule: Hashable) -> Tensor:
        """Values [..., *] of the edges that `within` keeps for a rule, for those of this block: zero at others.

        Raises:
            BackboneError: no stage declares the rule.
        """

    @abstractmethod
    def triplets(self, which: Hashable) -> TripletBlock:
        """Pairs of edges that share an atom; see `StageSpec.index_sets`.

        Raises:
            BackboneError: no stage declares them.
        """

    @abstractmethod
    def quadruplets(self, which: Hashable) -> QuadrupletBlock:
        """Chains of three edges; see `StageSpec.index_sets`.

        Raises:
            BackboneError: no stage declares them.
        """

    def lengths(self) -> Tensor:
        """Edge lengths [...] in Å. Padded edges count as 1 Å long, so that nothing divides by zero."""
        return safe_norm(self.vectors, self.mask)


def safe_norm(vectors: Tensor, mask: Tensor | None) -> Tensor:
    """Norms [...] of vectors [..., 3]; 1 where the mask is 0."""
    squares = (vectors * vectors).sum(-1)
    return (squares if mask is None else squares + (1.0 - mask)).sqrt()


def undeclared(what: Hashable) -> BackboneError:
    """The error for a stage that asks its block for something that it has not declared."""
    return BackboneError(
        f"A stage asks its block for {what}, which no stage of the model declares; name it in a StageSpec."
    )
