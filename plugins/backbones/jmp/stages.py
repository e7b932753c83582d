"""JMP's three kinds of stage.

Shapes: N atoms read, n atoms written, A features of atoms, E of edges, [...] edges in either form.

A block ends with edges that see what has become of the atoms at both ends. The next layer does that, which reads
its neighbours anyway; so a layer has three hops: those in which edges see atoms, gather chains, and see their
opposites. What all of them see of distances and angles is computed by the first, for its own edges, of which those
of later ones are a part.
"""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.graph import Several
from halocline.model import Stage, StageSpec, State, Work
from halocline.plugins.backbones.jmp.config import ROWS, JMPConfig
from halocline.plugins.backbones.jmp.dense import Dense, Residuals, active, joined
from halocline.plugins.backbones.jmp.geometry import INNER, MIDDLE, OUTER, OUTPUT, UPDATE, Geometry, Hops, places
from halocline.plugins.backbones.jmp.interactions import AtomsToAtoms, Chains, EdgesToAtoms, Seen, ToEdges
from halocline.plugins.backbones.jmp.outputs import Close, FromEdges, Head, Start

#: Hops of a layer, and of the last one, whose edges see atoms once more before energies are read.
HOPS, HOPS_OF_LAST = 3, 4


@final
class Embedding(Stage):
    """One learned vector for each chemical element."""

    spec = StageSpec(hops=0)

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, config.atom, dtype=torch.float64)
        nn.init.uniform_(self.table.weight, -(3.0**0.5), 3.0**0.5)

    def forward(self, state: State, *blocks: Block) -> State:
        """``species`` (N,) → ``features`` and ``read`` (N, A); the latter is zero."""
        del blocks
        features = self.table(state.atoms["species"])
        return State({"features": features, "read": torch.zeros_like(features)}, {})


@final
class Layer(Stage):
    """A block: messages of five kinds to edges and atoms, and what both make of them.

    Args:
        config: of the model.
        number: of the layer, from 0.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "geometry": Work.ANGULAR,
        "edges_to_edges": Work.MESSAGES,
        "atoms_to_edges": Work.MESSAGES,
        "edges_to_atoms": Work.MESSAGES,
        "atoms_to_atoms": Work.MESSAGES,
        "chains": Work.ANGULAR,
    }

    def __init__(self, config: JMPConfig, number: int) -> None:
        super().__init__()
        last = number == config.layers - 1
        sets = (config.edge_to_edge, config.atom_to_edge, config.edge_to_atom, config.opposites, config.chains)
        self.spec = StageSpec(
            hops=HOPS_OF_LAST if last else HOPS,
            neighbours=Several(config.lists),
            index_sets=tuple(dict.fromkeys(sets)),
            edge_state=("features",) if number else (),
        )
        self.main, self.opposites = config.main_list, config.opposites
        self.places = places(config)
        self.geometry = None if number else Geometry(config)
        self.start = None if number else Start(config)
        self.before = Close(config) if number else None
        self.skip = Dense(config.edge, config.edge)
        self.edges_to_edges = ToEdges(config, of_atoms=False)
        self.atoms_to_edges = ToEdges(config, of_atoms=True)
        self.chains = Chains(config)
        self.edges_to_atoms = EdgesToAtoms(config)
        self.atoms_to_atoms = AtomsToAtoms(config)
        self.before_skip = Residuals(config.edge, config.edge, config.before_skip)
        self.after_skip = Residuals(config.edge, config.edge, config.after_skip)
        self.atom_layers = Residuals(config.atom, config.atom, config.atom_layers)
        self.from_edges = FromEdges(config, config.update_layers)
        self.after = Close(config) if last else None

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` and ``read`` (N, A) → (n, A), and of edges ``features`` [..., E] and all of `Geometry`."""
        hops = Hops(blocks)
        geometry = state.edges if self.geometry is None else self.geometry(hops)
        seen = {name: hops.own(geometry[name], place) for name, place in self.places.items()}
        outer, middle, inner = blocks[:3]
        h_NA, main = state.atoms["features"], hops.edges(INNER, self.main)
        m_E, read = self._begin(hops.edges(OUTER, self.main), h_NA, state.edges, seen[OUTPUT])
        h_NA, read = outer.targets(h_NA), outer.targets(state.atoms["read"]) + read
        x_E = self._messages(hops, h_NA, m_E, seen)
        h_NA, read = middle.targets(h_NA), inner.targets(middle.targets(read))
        m_E = main.own(m_E)
        told = self.edges_to_atoms(hops, m_E, seen), self.atoms_to_atoms(hops, h_NA, seen)
        h_nA = joined(inner.targets(h_NA), *told)
        m_E = self.after_skip(joined(m_E, self.before_skip(joined(self.skip(m_E), *x_E))))
        h_nA = joined(self.atom_layers(h_nA), self.from_edges(main, m_E, seen[UPDATE]))
        if self.after is None:
            handed_on = {name: geometry[name] for name in self.places}
            return State({"features": h_nA, "read": read}, {"features": m_E, **handed_on})
        (final_block,) = blocks[3:]
        final_main = final_block.within(self.main)
        _, more = self.after(final_main, h_nA, final_main.own(m_E), final_main.own(seen[OUTPUT]))
        return State({"read": final_block.targets(read) + more}, {})

    def _begin(
        self, main: Block, h_NA: Tensor, edges: dict[str, Tensor], functions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Edges that have seen the atoms at both ends, [..., E], and what is read then, (n, A)."""
        if self.start is not None:
            started: tuple[Tensor, Tensor] = self.start(main, h_NA, functions)
            return started
        assert self.before is not None
        closed: tuple[Tensor, Tensor] = self.before(main, h_NA, main.own(edges["features"]), functions)
        return closed

    def _messages(self, hops: Hops, h_NA: Tensor, m_E: Tensor, seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
        """What others tell the edges of the inner block, three times [..., E].

        Args:
            hops: the blocks.
            h_NA: atoms that the middle one reads.
            m_E: edges of the outer one.
            seen: of distances and angles.
        """
        told = (
            self.edges_to_edges(hops, hops.edges(MIDDLE, self.main).own(m_E), seen),
            self.chains(hops, m_E, seen),
            self.atoms_to_edges(hops, h_NA, seen),
        )
        opposites, main = hops.pairs(INNER, self.opposites), hops.edges(INNER, self.main)
        one, two, three = (
            joined(main.own(own), opposites.sum(opposites.at_read(opposite))) for own, opposite in told
        )
        return one, two, three


@final
class Readout(Stage):
    """Energy of each atom from what all blocks have told."""

    spec = StageSpec(hops=0)

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.layers = Residuals(config.atom, config.atom, config.final_layers)
        self.head = Head(config.atom, config.head_layers)

    def forward(self, state: State, *blocks: Block) -> State:
        """``read`` (n, A) → ``energies`` (n,) in eV."""
        del blocks
        return State({"energies": self.head(self.layers(active(state.atoms["read"])))}, {})
