"""Every kind of cell has exactly the neighbours that ASE and brute force find, in canonical order."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from numpy_reference.pairs import brute_force_pairs
from structures import random_structure

from halocline.errors import StructureError
from halocline.graph import Edges, Graph, Nearest, NeighbourList, Radius, Structure, neighbours
from halocline.graph.neighbours import nearest_edges, search
from halocline.graph.radius import radius_edges

#: Vectors are differences of coordinates of tens of Å in float64.
ROUNDING = 1e-12


def keys(edges):
    return list(
        zip(edges.receivers.tolist(), edges.senders.tolist(), map(tuple, edges.shifts.tolist()), strict=True)
    )


def ase_keys(atoms, cutoff):
    receivers, senders, shifts = neighbor_list("ijS", atoms, cutoff)
    return sorted(zip(receivers.tolist(), senders.tolist(), map(tuple, shifts.tolist()), strict=True))


SPECIAL = {
    "molecule without cell": molecule("CH3CH2OH"),
    "one atom": Atoms("Ar"),
    "primitive cell smaller than the cutoff": bulk("Cu"),
    "thin slab of a cell": Atoms(
        "O3", positions=np.eye(3), cell=[[0.9, 0, 0], [0.2, 30, 0], [0, 1, 30]], pbc=True
    ),
    "wire": Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.2]], cell=[0, 0, 2.5], pbc=[False, False, True]),
    "surface with an empty third vector": Atoms("Pt", cell=[[2.8, 0, 0], [1.4, 2.4, 0], [0, 0, 0]], pbc=[1, 1, 0]),
    "left-handed": Atoms(
        "He2", positions=[[0, 0, 0], [1, 2, 1]], cell=[[0, 5, 0], [5, 0, 0], [1, 1, 6]], pbc=True
    ),
}


@pytest.mark.parametrize("cutoff", [1.7, 4.3])
@pytest.mark.parametrize("atoms", SPECIAL.values(), ids=SPECIAL.keys())
def test_special_cells_agree_with_ase(atoms, cutoff):
    edges = radius_edges(Structure.from_atoms(atoms), cutoff)
    assert keys(edges) == ase_keys(atoms, cutoff)


@pytest.mark.parametrize("seed", range(40))
def test_random_cells_agree_with_ase(seed):
    atoms = random_structure(seed)
    cutoff = 1.5 + 0.1 * seed
    structure = Structure.from_atoms(atoms)
    edges = radius_edges(structure, cutoff)
    assert keys(edges) == ase_keys(atoms, cutoff)
    assert edges.receivers.dtype == edges.senders.dtype == edges.shifts.dtype == np.int64


@pytest.mark.parametrize("seed", range(6))
def test_vectors_agree_with_brute_force(seed):
    atoms = random_structure(seed, atoms=4, edge=(2.0, 4.0))
    structure = Structure.from_atoms(atoms)
    edges = radius_edges(structure, 3.0)
    expected, vectors = brute_force_pairs(atoms, 3.0)
    assert keys(edges) == expected
    np.testing.assert_allclose(edges.vectors(structure), vectors, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("seed", range(10))
def test_partners_are_opposite_to_the_bit(seed):
    structure = Structure.from_atoms(random_structure(seed, edge=(2.0, 5.0), atoms=5))
    edges = radius_edges(structure, 4.0)
    back = edges.partners()
    vectors = edges.vectors(structure)
    assert np.array_equal(edges.receivers[back], edges.senders)
    assert np.array_equal(edges.shifts[back], -edges.shifts)
    assert np.array_equal(vectors[back], -vectors)


@pytest.mark.parametrize("seed", range(6))
def test_a_list_with_skin_gives_the_graph_of_a_fresh_list(seed):
    """Across small moves, large moves, strain, and atoms wrapped into the cell."""
    rng = np.random.default_rng(seed)
    atoms = random_structure(seed, atoms=20)
    following = NeighbourList(Radius(3.0), skin=0.6)
    for step in range(25):
        atoms.positions += rng.normal(0, 0.03, (len(atoms), 3))
        if step % 5 == 4:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.005, (3, 3))), scale_atoms=True)
        if step == 12:
            atoms.wrap()
        structure = Structure.from_atoms(atoms)
        graph, fresh = following.graph(structure), NeighbourList(Radius(3.0), skin=0.0).graph(structure)
        assert keys(graph.edges) == keys(fresh.edges)
        assert np.array_equal(graph.vectors, fresh.vectors)
        assert np.array_equal(graph.partners, fresh.partners)
    assert following.searches < 25, "the skin never saved a search"


def approach(step):
    """Two atoms that walk towards each other."""
    return Atoms("Ar2", positions=[[0.04 * step, 0, 0], [3.75 - 0.04 * step, 0, 0]])


def approach_by_one(step):
    return Atoms("Ar2", positions=[[0, 0, 0], [3.75 - 0.04 * step, 0, 0]])


def squeeze(step):
    """A crystal whose cell shrinks while every atom keeps its fractional coordinates."""
    return Atoms("Ar", cell=[3.75 - 0.04 * step, 9, 9], pbc=True)


@pytest.mark.parametrize("motion", [approach, approach_by_one, squeeze])
def test_a_pair_is_found_the_moment_it_comes_within_the_cutoff(motion):
    """The pairs start just outside of cutoff + skin, where only the rule for a new search can find them."""
    following = NeighbourList(Radius(3.0), skin=0.7)
    counts = []
    for step in range(40):
        structure = Structure.from_atoms(motion(step))
        graph = following.graph(structure)
        assert keys(graph.edges) == keys(radius_edges(structure, 3.0))
        counts.append(len(graph.edges))
    assert counts[0] == 0
    assert counts[-1] == 2


def test_other_atoms_are_never_given_an_old_list():
    following = NeighbourList(Radius(3.0))
    for seed in range(4):
        structure = Structure.from_atoms(random_structure(seed))
        assert keys(following.graph(structure).edges) == keys(radius_edges(structure, 3.0))


def test_an_interrupted_search_leaves_nothing_half_done(monkeypatch):
    """Ctrl-C after new candidates are found, and before their partners are."""

    def interrupted(edges):
        raise KeyboardInterrupt

    start, later = (Structure.from_atoms(random_structure(seed, atoms=9)) for seed in (0, 1))
    following = NeighbourList(Radius(3.0))
    following.refresh(start)
    with monkeypatch.context() as patch:
        patch.setattr(Edges, "partners", interrupted)
        with pytest.raises(KeyboardInterrupt):
            following.refresh(later)
    for structure in (start, later):
        assert following.refresh(structure)
        graph, fresh = following.graph(structure), NeighbourList(Radius(3.0)).graph(structure)
        assert np.array_equal(graph.vectors, fresh.vectors)
        assert np.array_equal(graph.partners, fresh.partners)


@pytest.mark.parametrize("rule", [Radius(3.0), Nearest(4, cutoff=3.0)], ids=repr)
def test_a_search_does_not_hold_the_list_before(monkeypatch, rule):
    """Two lists of a large structure at a time would be most of what is held."""
    start, later = (Structure.from_atoms(random_structure(seed, atoms=9)) for seed in (0, 1))
    following = NeighbourList(rule)
    following.graph(start)
    before = weakref.ref(following.candidates.receivers)
    alive = []

    def searched(*arguments):
        alive.append(before() is not None)
        return search(*arguments)

    monkeypatch.setattr(neighbours, "search", searched)
    following.graph(later)
    assert alive == [False]


@pytest.mark.parametrize("seed", range(8))
def test_nearest_neighbours_are_the_nearest(seed):
    atoms = random_structure(seed, atoms=9)
    count = 6
    structure = Structure.from_atoms(atoms)
    edges = nearest_edges(structure, count)
    distances = np.linalg.norm(edges.vectors(structure), axis=1)
    pairs, vectors = brute_force_pairs(atoms, 30.0 if not atoms.pbc.any() else distances.max() + 0.1)
    receivers, lengths = np.array([p[0] for p in pairs]), np.linalg.norm(vectors, axis=1)
    for i in range(len(atoms)):
        expected = np.sort(lengths[receivers == i])[:count]
        np.testing.assert_allclose(np.sort(distances[edges.receivers == i]), expected, rtol=0, atol=ROUNDING)


def test_few_atoms_are_fully_connected():
    edges = nearest_edges(Structure.from_atoms(molecule("H2O")), 28)
    assert sorted(zip(edges.receivers.tolist(), edges.senders.tolist(), strict=True)) == [
        (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("rule", [Radius(4.0), Nearest(1)])
def test_far_apart_molecules_cost_no_memory(rule):
    atoms = molecule("H2O") + molecule("H2O")
    atoms.positions[3:] += [1e7, -3e6, 0.0]
    graph = NeighbourList(rule).graph(Structure.from_atoms(atoms))
    assert set(graph.edges.receivers) == set(range(6))
    assert np.linalg.norm(graph.vectors, axis=1).max() < 2.0


BAD = {
    "no atoms": (Atoms(), "no atoms"),
    "NaN position": (Atoms("H2", positions=[[0, 0, 0], [0, 0, np.nan]]), "atoms 1 are not finite"),
    "infinite cell": (Atoms("H", cell=[np.inf, 5, 5], pbc=True), "cell is not finite"),
    "zero cell": (Atoms("H", pbc=True), "no volume"),
    "flat cell": (Atoms("H", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=True), "no volume"),
    "cell of 0.05 Å": (Atoms("H", cell=[0.05] * 3, pbc=True), "far too small"),
    "two atoms on one point": (Atoms("H2", positions=np.zeros((2, 3))), "Atoms 0 and 1 sit on one point"),
}


@pytest.mark.parametrize(("atoms", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_structures_are_refused(atoms, reason):
    with pytest.raises(StructureError, match=reason):
        NeighbourList(Radius(4.0)).graph(Structure.from_atoms(atoms))


def test_an_open_direction_ignores_its_cell_vector():
    atoms = Atoms("H2", positions=[[0, 0, 0], [1, 0, 0]], cell=[[0, 0, 0], [0, 4, 0], [0, 0, 4]], pbc=[0, 1, 1])
    odd = atoms.copy()
    odd.cell[0] = [np.nan, 0, 0]
    first, second = (Graph.build(s, radius_edges(s, 5.0)) for s in map(Structure.from_atoms, (atoms, odd)))
    assert np.array_equal(first.vectors, second.vectors)
