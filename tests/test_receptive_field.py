"""What a backbone declares about its receptive field is measured before anything is cut by it."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch
from structures import random_structure

from halocline.aggregation import Form
from halocline.errors import BackboneError, UsageError
from halocline.graph import NeighbourList, Structure
from halocline.model import StageSpec, State
from halocline.model.build import build_backbone
from halocline.partition import cut_part
from halocline.plugin import registry
from halocline.plugins.backbones.schnet.backbone import Interaction
from halocline.probes.receptive_field import measure_hops, require_hops
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.geometry import forces_from_gradients
from halocline.program.layout import lay_out

#: eV/Å. Sums in another order differ by 1e-15; the last hop of a fresh SchNet of depth 3 matters 1e-4.
WRONG, EQUAL = 1e-5, 1e-12


def schnet(**config):
    example = registry().load("backbone", "schnet").example_config()
    return build_backbone("schnet", example | config, seed=0)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("neighbours", ["radius", "nearest"])
def test_schnet_looks_as_far_as_it_declares(layers, neighbours, caplog):
    model = schnet(layers=layers, neighbours=neighbours, nearest_count=6)
    assert measure_hops(model) == model.hops == layers
    require_hops(model)
    assert not caplog.records


def test_lennard_jones_looks_at_neighbours_only():
    model = build_backbone("lennard-jones", registry().load("backbone", "lennard-jones").example_config(), seed=0)
    assert measure_hops(model) == 1


def messages_twice(right):
    """One layer of one declared hop passes messages two times."""

    def forward(self, state, *blocks):
        (block,) = blocks
        once = right(self, state, *blocks).atoms["features"]
        again = torch.cat([once, state.atoms["features"][block.n_out :]])
        return right(self, State({"features": again}, {}), *blocks)

    return forward


def counts_without_gradient(right):
    """It looks at the neighbours' neighbours, but no edge vector gets a gradient from that."""

    def forward(self, state, *blocks):
        (block,) = blocks
        x = state.atoms["features"]
        beyond = torch.cat([block.sum(block.at_senders(x)), x[block.n_out :]])
        seen = block.sum(block.at_senders(beyond)).detach()
        features = right(self, state, *blocks).atoms["features"]
        return State({"features": features + 0.01 * torch.tanh(seen)}, {})

    return forward


@pytest.mark.parametrize("fault", [messages_twice, counts_without_gradient], ids=lambda fault: fault.__name__)
def test_too_few_declared_hops_are_refused(fault, monkeypatch):
    monkeypatch.setattr(Interaction, "forward", fault(Interaction.forward))
    with pytest.raises(BackboneError, match=r"'schnet' declares 1 hops of neighbours, .* on atoms 2 hops away"):
        require_hops(schnet(layers=1))


def test_models_that_tell_forces_are_measured_by_gradients_too():
    """Ranks at the far ends of edges change by lengths that no exchange of atoms shows."""
    example = registry().load("backbone", "escaip").example_config()
    model = build_backbone("escaip", example | {"forces": "direct"}, seed=0)
    assert measure_hops(model) == model.hops


def test_forces_are_looked_at_where_energies_are_constant(monkeypatch):
    """What is measured is that of all that a model tells."""
    example = registry().load("backbone", "escaip").example_config()
    model = build_backbone("escaip", example | {"forces": "direct"}, seed=0)
    declared, right = model.hops, type(model.readout).forward

    def forward(self, state, *blocks):
        found = right(self, state, *blocks)
        return State(found.atoms | {"energies": torch.zeros_like(found.atoms["energies"])}, found.edges)

    monkeypatch.setattr(type(model.readout), "forward", forward)
    assert measure_hops(model) == declared


def test_too_many_declared_hops_are_logged(monkeypatch, caplog):
    right, right_init = Interaction.forward, Interaction.__init__

    def init(self, config):
        right_init(self, config)
        self.spec = StageSpec(hops=2, neighbours=self.spec.neighbours)

    def forward(self, state, *blocks):
        outer, inner = blocks
        return right(self, State({"features": outer.targets(state.atoms["features"])}, {}), inner)

    monkeypatch.setattr(Interaction, "__init__", init)
    monkeypatch.setattr(Interaction, "forward", forward)
    with caplog.at_level(logging.WARNING):
        require_hops(schnet(layers=2))
    assert "declares 4 hops of neighbours and depends on 2" in caplog.text


def forces_of_first_half(model, atoms, hops):
    """Forces by the energies of half of the atoms, with a halo of so many hops; further levels are empty."""
    graph = NeighbourList(model.neighbours).graph(Structure.from_atoms(atoms))
    x = graph.structure.positions[:, 0]
    part = cut_part(x < np.median(x), graph.edges, hops)
    missing = model.hops - hops
    part = dataclasses.replace(
        part,
        levels=part.levels + part.levels[-1:] * missing,
        edge_levels=part.edge_levels + part.edge_levels[-1:] * missing,
    )
    frozen = FrozenModel.freeze(model, Precision.FLOAT64, Capabilities.reference(Form.EDGES))
    gradients = energies_and_gradients(
        frozen.backbone, lay_out(graph, part, Form.EDGES, Precision.FLOAT64)
    ).gradients
    forces = np.zeros_like(graph.structure.positions)
    ends = torch.from_numpy(part.receivers), torch.from_numpy(part.senders)
    forces[part.atoms] = forces_from_gradients(gradients, *ends, len(part.atoms)).numpy()
    return forces


def test_one_hop_short_is_wrong_in_a_large_cell_and_only_there():
    """In a cell that one hop fills, nothing is missing: such a cell would let every wrong halo pass."""
    model = schnet(layers=3)
    large = random_structure(5, atoms=150, pbc=True, edge=(18.0, 20.0), outside=False)
    tiny = random_structure(0, atoms=6, pbc=True, edge=(3.0, 3.5), outside=False)
    errors = [
        np.abs(forces_of_first_half(model, atoms, 2) - forces_of_first_half(model, atoms, 3)).max()
        for atoms in (large, tiny)
    ]
    assert errors[0] > WRONG
    assert errors[1] < EQUAL


@pytest.mark.parametrize("hops", [1, 3])
def test_a_part_of_other_hops_is_refused(hops):
    model = schnet(layers=2)
    graph = NeighbourList(model.neighbours).graph(Structure.from_atoms(random_structure(0)))
    part = cut_part(np.arange(len(graph.structure)) < 3, graph.edges, hops)
    frozen = FrozenModel.freeze(model, Precision.FLOAT64, Capabilities.reference(Form.EDGES))
    inputs = lay_out(graph, part, Form.EDGES, Precision.FLOAT64)
    with pytest.raises(UsageError, match=f"'schnet' needs a halo of 2 hops, but the part has one of {hops}"):
        energies_and_gradients(frozen.backbone, inputs)
