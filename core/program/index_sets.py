"""The lists and index sets of a model as the tensors that its programs are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, final

from torch import Tensor

from halocline.graph.rules import IndexSet, Nearest, NeighbourRule, Radius, Several, Triplets, narrower

#: The opposite of each slot of a table, where index sets need it.
OPPOSITE: Final = "opposite"

#: Of index sets: places of the edges that messages go to, of those between, and of those that they come from.
WRITTEN, BETWEEN, READ = "_written", "_between", "_read"


@final
@dataclass(frozen=True, slots=True)
class SetInputs:
    """Lists and index sets of a model as tensors; empty for a model with one list and no index sets.

    Attributes:
        asked: by the model; None if there is nothing.
        tensors: by name. Flat edges: ``rule_0`` (E_r,) int64, places of its edges, increasing;
            ``triplets_0_written`` and ``triplets_0_read`` (T,) int64, places in the lists of the two rules, the
            former never decreasing; likewise ``quadruplets_0_written``, ``quadruplets_0_between`` and
            ``quadruplets_0_read``. Tables: ``rule_0`` (n_{H-1}, k), 1 for its edges and else 0; if index sets
            reach beyond the receiver, ``opposite`` (n_{H-1}, k) int64, the flat slot of the opposite edge, or else
            the zero slot.
        levels: flat edges only: for ``rule_0``, ``triplets_0`` and ``quadruplets_0``, how many of them belong to
            the receivers of each hop level but the outermost.
    """

    asked: NeighbourRule | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    levels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> SetInputs:
        """The same sets, with tensors that a function gives for these, such as those on another device."""
        if not self.tensors:
            return self
        return replace(self, tensors={name: function(tensor) for name, tensor in self.tensors.items()})


NO_SET_INPUTS: Final = SetInputs()


def named_rules(asked: NeighbourRule | None) -> dict[str, Radius | Nearest]:
    """The rules that have a list of their own, by the name of its tensor."""
    rules = () if asked is None else narrower(asked)
    return {f"rule_{number}": rule for number, rule in enumerate(rules)}


def named_index_sets(asked: NeighbourRule | None) -> dict[str, IndexSet]:
    """Index sets, by what the names of their tensors begin with."""
    index_sets = asked.index_sets if isinstance(asked, Several) else ()
    kinds = ((type(each).__name__.lower(), each) for each in index_sets)
    return {f"{kind}_{number}": each for number, (kind, each) in enumerate(kinds)}


def ends_of(index_set: IndexSet) -> tuple[str, ...]:
    """What the names of its tensors end in."""
    return (WRITTEN, READ) if isinstance(index_set, Triplets) else (WRITTEN, BETWEEN, READ)


def needs_opposite(asked: NeighbourRule | None) -> bool:
    """Whether tables need to know opposite edges."""
    return any(each.reaches_out for each in named_index_sets(asked).values())
