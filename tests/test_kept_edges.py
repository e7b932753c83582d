"""What is kept from one step for the next changes no bit of a result."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.constraints import FixAtoms

import halocline
from halocline.aggregation import Form
from halocline.dynamics.moving_atoms import MovingAtoms
from halocline.evaluator import recompute
from halocline.graph import Contacts, NeighbourList, Radius, Structure, Surroundings
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


def test_a_calculator_shows_the_atoms_that_it_was_given():
    atoms = molecule("H2O", cell=(5.0, 6.0, 7.0), pbc=True, info={"name": "water", "step": 3})
    atoms.set_tags([1, 2, 3])
    atoms.set_momenta(np.random.default_rng(0).normal(size=(3, 3)))
    atoms.set_constraint(FixAtoms([1]))
    atoms.set_celldisp((0.1, 0.2, 0.3))
    atoms.calc = calculator = halocline.load("water-revpbe0d3-schnet").calculator(device="cpu")
    atoms.get_potential_energy()
    given = atoms.copy()
    atoms.positions += 0.1
    atoms.arrays["tags"][:] = 0
    atoms.info["step"] = 4
    atoms.set_constraint()
    shown = calculator.atoms
    assert shown is calculator.atoms
    assert shown == given
    assert shown.arrays.keys() == given.arrays.keys()
    assert all(np.array_equal(shown.arrays[name], given.arrays[name]) for name in given.arrays)
    assert shown.info == given.info
    assert np.array_equal(shown.get_celldisp(), given.get_celldisp())
    assert [each.todict() for each in shown.constraints] == [each.todict() for each in given.constraints]
    assert calculator.check_state(given) == []
    assert calculator.check_state(atoms) == ["positions"]


def test_contacts_are_measured_later_as_at_once():
    structure = Structure.from_atoms(molecule("CH3CH2OH"))
    graph = NeighbourList(Radius(3.0)).graph(structure)
    at_once = Contacts.of(graph)
    limits = np.array([[0.0, at_once.shortest[0, 1], 0.0], [at_once.shortest[0, 1], 0.0, 0.0], [0.0, 0.0, 0.0]])
    surroundings = Surroundings.of(graph)
    for _ in range(3):  # the second time, limits by edges are made; the third time, they are there
        assert Contacts.of_lengths(surroundings, graph.squares).are_beyond(limits)
        assert not Contacts.of_lengths(surroundings, graph.squares).are_beyond(limits * 1.001)
    later = pickle.loads(pickle.dumps(Contacts.of_lengths(surroundings, graph.squares)))
    for name in ("elements", "shortest", "pairs", "fewest", "most"):
        np.testing.assert_array_equal(getattr(later, name), getattr(at_once, name))


def test_moving_atoms_give_the_numbers_of_ase():
    atoms = molecule("CH3CH2OH")
    atoms.set_momenta(np.random.default_rng(0).normal(size=atoms.positions.shape))
    moving = MovingAtoms.of(atoms)
    velocities = np.random.default_rng(1).normal(size=atoms.positions.shape)
    for each in ("get_masses", "get_velocities", "get_momenta", "get_kinetic_energy"):
        assert np.array_equal(getattr(moving, each)(), getattr(atoms, each)())
    for each in (atoms, moving):
        each.set_velocities(velocities)
    assert moving.arrays["momenta"].tobytes() == atoms.arrays["momenta"].tobytes()
    assert isinstance(moving.copy(), MovingAtoms)
