"""What is kept from one step for the next changes no bit of a result."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule

import halocline
from halocline.aggregation import Form
from halocline.evaluator import recompute
from halocline.graph import NeighbourList, Radius, Structure
from halocline.graph.graph import squared_lengths
from halocline.model.build import build_backbone
from halocline.partition import whole
from halocline.plugin import registry
from halocline.program import Precision
from halocline.program.layout import lay_out, renewed

STEPS = 6


def walk(atoms, rng):
    """Structures of a walk: some steps change no edge, some do, the cell changes once, and once an element."""
    atoms = atoms.copy()
    for step in range(STEPS):
        atoms.positions += rng.normal(size=atoms.positions.shape) * (0.0, 1e-6, 0.2, 0.01, 1e-6, 0.3)[step]
        if step == 3 and atoms.pbc.any():
            atoms.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
        if step == 4:
            atoms.numbers[0] = 1
        yield atoms.copy()


def systems():
    water = molecule("H2O")
    yield "molecule", water
    tiny = water.copy()
    tiny.set_cell([[3.0, 0.2, 0.0], [0.0, 3.3, -0.1], [0.4, 0.0, 3.1]])
    tiny.pbc = (True, True, False)
    yield "slab", tiny
    tiny = tiny * (2, 2, 1)
    tiny.pbc = True
    yield "crystal", tiny


@pytest.mark.parametrize("atoms", [atoms for _, atoms in systems()], ids=[name for name, _ in systems()])
@pytest.mark.parametrize("backbone", ["schnet", "m3gnet", "mace"])
def test_results_do_not_depend_on_what_was_kept(atoms, backbone):
    model = build_backbone(backbone, registry().load("backbone", backbone).example_config())
    potential = halocline.Potential(model, dict.fromkeys(model.species, 0.0), {})
    kept = potential.evaluator("torch", "float32", "cpu", "none", "auto")
    for step in walk(atoms, np.random.default_rng(0)):
        fresh = potential.evaluator("torch", "float32", "cpu", "none", "auto")
        one, other = (potential.evaluate_with(evaluator, step) for evaluator in (kept, fresh))
        for name in ("energies", "forces", "virial"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in ("shortest", "pairs", "fewest", "most"):
            np.testing.assert_array_equal(getattr(one.contacts, name), getattr(other.contacts, name))


@pytest.mark.parametrize("atoms", [atoms for _, atoms in systems()], ids=[name for name, _ in systems()])
def test_same_edges_are_the_same_objects(atoms):
    neighbours = NeighbourList(Radius(3.0))
    graphs = [neighbours.graph(Structure.from_atoms(step)) for step in walk(atoms, np.random.default_rng(0))]
    assert graphs[1].edges is graphs[0].edges
    assert graphs[4].edges is not graphs[3].edges  # another element: searched anew
    for graph in graphs:
        fresh = NeighbourList(Radius(3.0), skin=0.0).graph(graph.structure)
        for name in ("receivers", "senders", "shifts"):
            np.testing.assert_array_equal(getattr(graph.edges, name), getattr(fresh.edges, name))
        np.testing.assert_array_equal(graph.partners, fresh.partners)
        assert graph.vectors.tobytes() == graph.edges.vectors(graph.structure).tobytes()
        assert graph.squares.tobytes() == squared_lengths(graph.vectors).tobytes()
        assert (graph.vectors[graph.partners] == -graph.vectors).all()
        assert (graph.squares[graph.partners] == graph.squares).all()


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("precision", Precision)
def test_renewed_layout_is_that_of_the_moved_atoms(form, precision):
    neighbours = NeighbourList(Radius(3.0))
    first = Structure.from_atoms(molecule("H2O"))
    moved = replace(first, positions=first.positions + np.random.default_rng(0).normal(size=(3, 3)) * 0.01)
    graph, later = neighbours.graph(first), neighbours.graph(moved)
    assert later.edges is graph.edges
    part = whole(len(first), graph.edges, 2)
    kept = renewed(lay_out(graph, part, form, precision), later, part)
    fresh = lay_out(later, part, form, precision)
    for name in type(fresh).__dataclass_fields__:
        one, other = getattr(kept, name), getattr(fresh, name)
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_layout_is_kept_while_edges_are(monkeypatch):
    laid = []
    lay_out = recompute.lay_out
    monkeypatch.setattr(recompute, "lay_out", lambda *arguments: laid.append(1) or lay_out(*arguments))
    calculator = halocline.load("water-revpbe0d3-schnet").calculator(device="cpu")
    atoms = molecule("H2O")
    atoms.calc = calculator
    for _ in range(STEPS):
        atoms.get_forces()
        atoms.positions[0] += 1e-3
    assert len(laid) == 1
    atoms.numbers[0] = 1
    atoms.get_forces()
    assert len(laid) == 2
