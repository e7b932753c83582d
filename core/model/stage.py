"""The stage contract: what a backbone is made of, and where it is cut."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, final

from torch import Tensor, nn

from halocline.aggregation import Block, Form, prefix
from halocline.graph.rules import IndexSet, NeighbourRule
from halocline.model.work import Work

#: What names of edge values begin with where they stand beside those of atoms; any compiler takes such names.
OF_EDGES = "edges_"


class State(NamedTuple):
    """What one stage hands to the next.

    Attributes:
        atoms: name → (n_in, ...), values of atoms. The first stage finds ``species``, (n_in,) int64.
        edges: name → [..., ...], values of edges, for models that carry them from layer to layer. A stage writes
            those of its outermost block, or if it declares `StageSpec.edge_state`, of an inner one; the next one,
            of the same rule, finds at least those of its own outermost block and cuts them out with `Block.own`.
    """

    atoms: dict[str, Tensor]
    edges: dict[str, Tensor]

    @classmethod
    def of(cls, named: Mapping[str, Tensor]) -> State:
        """Sort named tensors into atoms' and edges'."""
        atoms = {name: values for name, values in named.items() if not name.startswith(OF_EDGES)}
        edges = {
            name.removeprefix(OF_EDGES): values for name, values in named.items() if name.startswith(OF_EDGES)
        }
        return cls(atoms, edges)

    def named(self) -> dict[str, Tensor]:
        """All values in one mapping; names of edge values begin with ``edges_``."""
        return {**self.atoms, **{OF_EDGES + name: values for name, values in self.edges.items()}}

    def first(self, atoms: int) -> State:
        """Keep the rows of the first ``atoms`` atoms, without edges: what a readout may see."""
        return State({name: prefix(values, atoms) for name, values in self.atoms.items()}, {})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """What a stage declares about itself; everything outside the model relies on it.

    Attributes:
        hops: how many hops of neighbours its output depends on. Checked numerically by the conformance suite.
        incomplete: of how many of the outermost hops of what it writes the values miss something, as sums at
            senders do whose edges end one hop farther out. The layers after it do not let those values reach what
            is complete, so that a chain of such layers needs this once and not once for each. Where state is
            exchanged, the stage is given so many hops more.
        edgeless: of how many of the innermost hops it evaluates no edges, as it does nothing there but add up
            messages of the outer ones. What it costs is told by it.
        neighbours: which neighbours it reads; None for a stage without hops. Its blocks hold those of one rule.
            With `Several`, they hold all edges of the model, of which `Block.within` takes those of a rule.
        forms: layouts of edges that it can work on.
        edge_state: names of edge values that it finds in its state, and reads at edges of other receivers than
            those that it writes. Such a stage has two hops, or one if the layer before wrote all of them, and
            cannot run where state is exchanged.
        index_sets: pairs and chains of edges that it reads, which `Block.triplets` and `Block.quadruplets` give.
    """

    hops: int
    incomplete: int = 0
    edgeless: int = 0
    neighbours: NeighbourRule | None = None
    forms: frozenset[Form] = field(default_factory=lambda: frozenset(Form))
    edge_state: tuple[str, ...] = ()
    index_sets: tuple[IndexSet, ...] = ()

    @property
    def reach(self) -> int:
        """Hops after which all that it writes is complete."""
        return self.hops + self.incomplete


class Stage(nn.Module, ABC):
    """Embed, a layer, or a readout.

    A stage of h hops is called with h one-hop blocks, the outermost first, and returns values for the first
    ``n_out`` atoms of the last block. A stage without hops gets no block and works on each atom alone.
    It sees geometry only as the blocks' edge vectors.

    Attributes:
        spec: what it declares about itself.
        profiled_as: kinds of work by the names of submodules and methods; profiles show, precision policies name
            them. The innermost one that runs counts, and ``forward`` stands for the rest. Gathers, sums, distances
            and each `RadialFunction` need no mention; what nothing is said of is shown by kinds of operator.
        frozen_as: its name in the frozen model that it is part of, as in `Backbone.stages`; empty before.
    """

    spec: StageSpec
    profiled_as: ClassVar[Mapping[str, Work]] = {}
    frozen_as: str = ""

    @abstractmethod
    def forward(self, state: State, *blocks: Block) -> State:
        """Map the state on ``blocks[0].n_in`` atoms to the state on the first ``blocks[-1].n_out`` of them."""

    # nn.Module.__call__ is untyped; this keeps callers typed.
    def __call__(self, state: State, *blocks: Block) -> State:
        """Run hooks and `forward`."""
        result: State = super().__call__(state, *blocks)
        return result
