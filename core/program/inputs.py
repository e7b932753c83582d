"""What a program is given and what it returns, in both forms."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self, final

from torch import Tensor

from halocline.aggregation import (
    Block,
    EdgeBlock,
    EdgeQuadruplets,
    EdgeSets,
    EdgeTriplets,
    TableBlock,
    TableSets,
    prefix,
)
from halocline.context import usable
from halocline.graph.rules import NeighbourRule, Several, Triplets, single_rules
from halocline.model.pooled import POOLED_WEIGHTS
from halocline.model.stage import State
from halocline.program.index_sets import (
    NO_SET_INPUTS,
    OPPOSITE,
    SetInputs,
    ends_of,
    named_index_sets,
    named_rules,
)

_set: Final = object.__setattr__


@functools.cache
def _names(kind: type[ProgramInputs]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


@dataclass(frozen=True, slots=True)
class ProgramInputs(ABC):
    """A part of a structure, ready for a program of H hops. A whole structure is one part.

    Atoms are ordered by hop level: the first ``levels[0]`` are owned, the first ``levels[h]`` lie within h hops
    of those. A stage that writes level h reads level h + 1, so each stage works on a prefix of everything.

    Attributes:
        species: (n_H,) int64, atomic numbers.
        vectors: [..., 3] in the program's dtype, Å, from receiver to sender.
        seeds: (n_0,) in the program's dtype; 1 for owned atoms, 0 for padding. Energies are weighted with it.
        levels: (n_0, ..., n_H), atoms up to each hop level.
        mask: [...] ones and zeros; None where no edge is padding.
        conditions: name → (n_H,) int64, or floats in the program's dtype: those that the backbone declares, and
            `POOLED_WEIGHTS`, (n_H, C), if it has a pooled head.
        sets: lists and index sets of a model that has several.
    """

    species: Tensor
    vectors: Tensor
    seeds: Tensor
    levels: tuple[int, ...]
    mask: Tensor | None
    conditions: Mapping[str, Tensor]
    sets: SetInputs = field(default=NO_SET_INPUTS, kw_only=True)

    @abstractmethod
    def block(self, level: int, vectors: Tensor) -> Block:
        """The one-hop block that reads level ``level + 1`` and writes level ``level``.

        Args:
            level: between 0 and H - 1.
            vectors: stands in for ``self.vectors``, so that the caller can differentiate by it.
        """

    def moved(self, vectors: Tensor) -> Self:
        """The same with other vectors."""
        return self._with(vectors=vectors)

    def _with(self, **changed: Any) -> Self:
        """What `dataclasses.replace` would give, in a third of the time."""
        new = object.__new__(type(self))
        for name in _names(type(self)):
            _set(new, name, changed[name] if name in changed else getattr(self, name))
        return new

    def first_state(self) -> State:
        """The state that the first stage reads: species and conditions."""
        told = {name: values for name, values in self.conditions.items() if name != POOLED_WEIGHTS}
        return State({"species": self.species, **told}, {})

    def blocks(self, rule: NeighbourRule | None, levels: Iterable[int], vectors: Tensor) -> list[Block]:
        """The blocks that a stage is called with.

        Args:
            rule: that the stage declares. With `Several` it gets all edges, else those of its one rule.
            levels: that it writes, the outermost first.
            vectors: as for `block`.
        """
        blocks = [self.block(level, vectors) for level in levels]
        one_of_several = self.sets.asked is not None and not isinstance(rule, Several)
        return [block.within(rule) for block in blocks] if one_of_several else blocks

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, those of conditions and of lists included."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        tensors = {name: value for name, value in own.items() if isinstance(value, Tensor)}
        return {**tensors, **self.conditions, **self.sets.tensors}

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same with other tensors, such as those on another device."""
        changed: dict[str, Any] = {"sets": self.sets.mapped(function)}
        changed["conditions"] = {name: function(values) for name, values in self.conditions.items()}
        for each in fields(self):
            if isinstance(value := getattr(self, each.name), Tensor):
                changed[each.name] = function(value)
        return replace(self, **changed)

    def usable(self) -> Self:
        """The same, with copies of those tensors that were made in inference mode; see `context.usable`."""
        made = any(tensor.is_inference() for tensor in self.tensors.values())
        return self.mapped(usable) if made else self


@final
@dataclass(frozen=True, slots=True)
class EdgeInputs(ProgramInputs):
    """Flat edges; [...] is (E,).

    Attributes:
        senders: (E,) int64.
        receivers: (E,) int64, never decreasing.
        edge_levels: (e_0, ..., e_{H-1}), edges whose receivers lie within each hop level.
        pairs: (P,) int64, increasing: the first edge of each pair of opposite edges. None for lists that are not
            symmetric.
        pair_of: (E,) int64, the pair of each edge.
        pair_levels: (p_0, ..., p_{H-1}), pairs whose first edge lies within each edge level.
        row_starts: (n_{H-1},) int64, the first edge of each receiver.
        opposite: (E,) int64, the edge that leads back; E where it lies outside of the part. None for lists that
            are not symmetric.
    """

    senders: Tensor
    receivers: Tensor
    edge_levels: tuple[int, ...]
    pairs: Tensor | None = None
    pair_of: Tensor | None = None
    pair_levels: tuple[int, ...] = ()
    row_starts: Tensor | None = None
    opposite: Tensor | None = None

    def with_edges(
        self,
        vectors: Tensor,
        senders: Tensor,
        receivers: Tensor,
        pairs: Tensor,
        pair_of: Tensor,
        row_starts: Tensor,
        opposite: Tensor,
    ) -> EdgeInputs:
        """The same whole structure with one list of other edges; arguments are the attributes."""
        return self._with(
            vectors=vectors,
            senders=senders,
            receivers=receivers,
            edge_levels=(len(senders),) * len(self.edge_levels),
            pairs=pairs,
            pair_of=pair_of,
            pair_levels=(len(pairs),) * len(self.edge_levels),
            row_starts=row_starts,
            opposite=opposite,
        )

    def block(self, level: int, vectors: Tensor) -> EdgeBlock:
        """See `ProgramInputs.block`."""
        edges = self.edge_levels[level]
        return EdgeBlock(
            n_in=self.levels[level + 1],
            n_out=self.levels[level],
            vectors=prefix(vectors, edges),
            senders=self.senders[:edges],
            receivers=self.receivers[:edges],
            mask=None if self.mask is None else self.mask[:edges],
            pairs=None if self.pairs is None else self.pairs[: self.pair_levels[level]],
            pair_of=None if self.pair_of is None else self.pair_of[:edges],
            row_starts=None if self.row_starts is None else self.row_starts[: self.levels[level]],
            opposite=None if self.opposite is None else self.opposite[:edges],
            sets=None if self.sets.asked is None else self._sets(self.sets.asked, level),
        )

    def _sets(self, asked: NeighbourRule, level: int) -> EdgeSets:
        """The lists and index sets of the block that writes a level."""
        tensors, levels = self.sets.tensors, self.sets.levels
        places: dict[Hashable, Tensor | None] = dict.fromkeys(single_rules(asked))
        counts = dict.fromkeys(places, self.edge_levels[level])
        for name, rule in named_rules(asked).items():
            counts[rule] = levels[name][level]
            places[rule] = tensors[name][: counts[rule]]
        triplets: dict[Hashable, EdgeTriplets] = {}
        quadruplets: dict[Hashable, EdgeQuadruplets] = {}
        for name, which in named_index_sets(asked).items():
            ends = [tensors[name + end][: levels[name][level]] for end in ends_of(which)]
            if isinstance(which, Triplets):
                written, read = ends
                triplets[which] = EdgeTriplets(written, read, counts[which.written])
            else:
                written, between, read = ends
                quadruplets[which] = EdgeQuadruplets(written, read, counts[which.written], between=between)
        return EdgeSets(places, triplets, quadruplets)


@final
@dataclass(frozen=True, slots=True)
class TableInputs(ProgramInputs):
    """Padded tables; [...] is (n_{H-1}, k), and the last slot of each row is padding.

    Attributes:
        neighbours: (n_{H-1}, k) int64.
        transposed: (n_H, t) int64, the flat slots that hold each atom; k - 1, the zero slot, where padded.
    """

    neighbours: Tensor
    transposed: Tensor

    def block(self, level: int, vectors: Tensor) -> TableBlock:
        """See `ProgramInputs.block`."""
        n_in, n_out = self.levels[level + 1], self.levels[level]
        width = self.neighbours.shape[1]
        assert self.mask is not None
        # Slots of receivers outside this block do not exist in it; they read the zero slot instead.
        transposed = self.transposed[:n_in]
        transposed = transposed.where(transposed < n_out * width, width - 1)
        return TableBlock(
            n_in=n_in,
            n_out=n_out,
            vectors=prefix(vectors, n_out),
            neighbours=self.neighbours[:n_out],
            transposed=transposed,
            mask=self.mask[:n_out],
            sets=None if self.sets.asked is None else self._sets(self.sets.asked, self.mask),
        )

    def _sets(self, asked: NeighbourRule, mask: Tensor) -> TableSets:
        tensors = self.sets.tensors
        masks: dict[Hashable, Tensor] = dict.fromkeys(single_rules(asked), mask)
        masks |= {rule: tensors[name] for name, rule in named_rules(asked).items()}
        triplets: dict[Hashable, tuple[Hashable, Hashable, str]] = {}
        quadruplets: dict[Hashable, tuple[Hashable, Hashable, Hashable]] = {}
        for which in named_index_sets(asked).values():
            if isinstance(which, Triplets):
                triplets[which] = which.written, which.read, which.at
            else:
                quadruplets[which] = which.written, which.between, which.read
        return TableSets(masks, tensors.get(OPPOSITE), triplets, quadruplets)


@final
class ProgramOutputs(tuple[Tensor, ...]):
    """What every program returns, in the order of its manifest.

    Args:
        energies: (n_0,) in the program's dtype, eV per owned atom, without reference energies.
        gradients: [..., 3] like the input vectors, eV/Å: derivative of the seeded sum of energies by each vector;
            zeros of models whose forces are direct.
        others: (n_0, ...), what else the backbone declares, in the order of its ``outputs``; see `Output`.
    """

    def __new__(cls, energies: Tensor, gradients: Tensor, *others: Tensor) -> Self:
        """They are its items, as compilers know nothing but tuples of tensors."""
        return super().__new__(cls, (energies, gradients, *others))

    @property
    def energies(self) -> Tensor:
        """Energies (n_0,) of the owned atoms, eV."""
        return self[0]

    @property
    def gradients(self) -> Tensor:
        """Gradients of the total energy by edge vectors, like these, eV/Å."""
        return self[1]

    @property
    def others(self) -> tuple[Tensor, ...]:
        """Further outputs (n_0, ...), in the order in which the backbone declares them."""
        return self[2:]
