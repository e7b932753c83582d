"""Cells that are long, flat, skewed or almost empty, and atoms that are far away, have the neighbours they have.

A grid over such a cell has more boxes than can be counted, and a search by the heights of a skewed cell looks at
millions of images for one neighbour.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy_reference.pairs import brute_force_pairs

from halocline.errors import StructureError
from halocline.graph import Nearest, NeighbourList, Radius, Structure, all_pairs
from halocline.graph.compiled import load_steps, steps
from halocline.graph.lattice import reduced_lattice
from halocline.graph.neighbours import nearest_edges
from halocline.graph.radius import radius_edges
from halocline.graph.structure import LONGEST
from halocline.native.compiler import find_compiler

#: Pairs nearer to the cutoff than this many roundings of the longest coordinate may go either way.
ROUNDINGS = 64

#: Heights of a reduced cell in units of its lengths. Three vectors of Lenstra, Lenstra and Lovász span at least
#: 2^-1.5 of the product of their lengths, and each height is at least that part of its vector.
LEAST_HEIGHT = 0.35


def keys(edges):
    return list(
        zip(edges.receivers.tolist(), edges.senders.tolist(), map(tuple, edges.shifts.tolist()), strict=True)
    )


def assert_complete(atoms, cutoff):
    """Against brute force, but for pairs that rounding puts on either side of the cutoff."""
    edges = radius_edges(Structure.from_atoms(atoms), cutoff)
    longest = max(np.abs(atoms.positions).max(), np.abs(atoms.cell.array).max())
    unsure = ROUNDINGS * np.spacing(longest)
    found = keys(edges)
    assert found == sorted(set(found))
    certain, possible = (set(brute_force_pairs(atoms, cutoff + sign * unsure)[0]) for sign in (-1, 1))
    assert certain <= set(found) <= possible
    return edges


def gas(count, cell, pbc=True, seed=0):
    atoms = Atoms(f"H{count}", cell=cell, pbc=pbc)
    atoms.positions = np.random.default_rng(seed).random((count, 3)) @ atoms.cell.array
    return atoms


@pytest.mark.parametrize("cutoff", [0.5, 5.0])
@pytest.mark.parametrize(
    ("count", "cell"),
    [
        (5, [3000, 3000, 10]),
        (5, [1e4, 1e4, 4]),
        (81, [9.9, 9.9, 1e6]),
        (30, [1e8, 3, 1e8]),
        (30, [2, 1e8, 3]),
        (3, [1e9, 1e9, 1e9]),
        (40, [3000, 40, 40]),
    ],
)
def test_sparse_and_uneven_cells(count, cell, cutoff):
    assert_complete(gas(count, cell), cutoff)


lengths = st.floats(0.5, 8.0).map(lambda exponent: 10.0**exponent)


@st.composite
def structures(draw):
    """A few atoms in a triclinic cell of any aspect, mostly near each other, some far outside the cell."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    directions = rng.normal(size=(3, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    assume(abs(np.linalg.det(directions)) > 0.1)
    cell = directions * np.array(draw(st.tuples(lengths, lengths, lengths)))[:, None]
    atoms = Atoms("H6", cell=cell, pbc=draw(st.tuples(*[st.booleans()] * 3)))
    atoms.positions = rng.random((2, 3)).repeat(3, axis=0) @ cell + rng.normal(0, 1.5, (6, 3))
    away = draw(st.sampled_from([0, 1, 1000]))
    atoms.positions += np.where(atoms.pbc, rng.integers(-away, away + 1, (6, 3)), 0) @ cell
    atoms.positions += draw(st.sampled_from([0.0, 1e7])) * rng.normal(size=3)
    assume(np.abs(atoms.positions).max() < LONGEST)  # farther ones are refused
    return atoms


@settings(max_examples=80, deadline=None)
@given(structures(), st.floats(1.0, 7.0))
def test_any_aspect_and_any_place(atoms, cutoff):
    assert_complete(atoms, cutoff)


@settings(max_examples=60, deadline=None)
@given(structures(), st.lists(st.tuples(st.permutations(range(3)), st.integers(-40, 40)), min_size=1, max_size=4))
def test_another_choice_of_lattice_vectors_changes_nothing_but_shifts(atoms, changes):
    """Adding multiples of one vector to another gives the same crystal in a cell as skewed as one likes."""
    transform = np.eye(3, dtype=int)
    atoms.pbc = True
    for (to, source, _), times in changes:
        transform[to] += times * transform[source]
    skewed = atoms.copy()
    skewed.set_cell(transform @ atoms.cell.array)
    heights = np.linalg.det(skewed.cell.array) / np.prod(np.linalg.norm(skewed.cell.array, axis=1))
    assume(abs(heights) > 1e-5)  # flatter cells are refused
    assume(np.abs(skewed.cell.array).max() < LONGEST)  # and longer ones
    # The same to the bit needs lattice vectors that are: distances near the cutoff may differ by rounding.
    longest = np.abs(skewed.cell.array).max() + np.abs(atoms.positions).max()
    distances = np.linalg.norm(brute_force_pairs(atoms, 5.1)[1], axis=1)
    assume(not (np.abs(distances - 5.0) < ROUNDINGS * np.spacing(longest)).any())
    before, after = (radius_edges(Structure.from_atoms(each), 5.0) for each in (atoms, skewed))
    mapped = [(i, j, tuple((np.array(shift) @ transform).tolist())) for i, j, shift in keys(after)]
    assert sorted(mapped) == keys(before)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.integers(0, 2**32), st.lists(lengths, min_size=3, max_size=3))
def test_reduced_lattices_are_upright_and_the_same_lattice(count, seed, scales):
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(size=(3, 3)) * np.array(scales)[:, None])[:count]
    spanned = np.sqrt(np.linalg.det(vectors @ vectors.T)) / np.prod(np.linalg.norm(vectors, axis=1))
    assume(spanned > 1e-6)
    lattice = reduced_lattice(vectors)
    assert round(abs(np.linalg.det(lattice.transform.astype(float)))) == 1
    np.testing.assert_array_equal(lattice.transform @ vectors, lattice.vectors)
    assert (lattice.heights >= LEAST_HEIGHT * np.linalg.norm(lattice.vectors, axis=1)).all()


def test_atoms_many_cells_away_along_a_long_vector_stay_in_the_cell():
    """A short vector beside one ten million times longer: no rounding of the inverse may lose an atom's image."""
    cell = [[27.298, -75.481, -59.644], [-75313675.5, 55516849.7, 35294895.9], [-3.676, 8.741, 3.176]]
    for seed in range(20):
        atoms = gas(6, cell, seed=seed)
        atoms.positions += np.random.default_rng(seed).integers(-700, 700, (6, 3)) @ atoms.cell.array
        assert_complete(atoms, 5.0)


def test_a_strongly_skewed_cell_is_not_taken_for_a_small_one():
    """Copper in vectors of up to 50 000 Å whose heights are 1e-4 of them."""
    atoms = bulk("Cu", cubic=True)
    skewed = atoms.copy()
    skewed.set_cell(np.array([[1, 0, 0], [9999, 1, 0], [-77, 31, 1]]) @ atoms.cell.array)
    before, after = (radius_edges(Structure.from_atoms(each), 6.0) for each in (atoms, skewed))
    assert np.array_equal(np.bincount(before.receivers), np.bincount(after.receivers))


@pytest.mark.parametrize("periodic", [False, True])
def test_one_atom_far_from_a_crowd_costs_no_more_than_the_crowd(periodic):
    """By a radius for all, everybody would be given everybody: 5e7 pairs."""
    crowd = bulk("Cu", cubic=True).repeat(12)
    crowd.pbc = False
    atoms = crowd + Atoms("Cu", positions=[[5e5, 0, 0]])
    atoms.set_cell([1e6, 0, 0])
    atoms.pbc = [periodic, False, False]
    edges = nearest_edges(Structure.from_atoms(atoms), 12)
    assert (np.bincount(edges.receivers) == 12).all()
    lonely = edges.senders[edges.receivers == len(atoms) - 1]
    expected = np.argsort(np.linalg.norm(crowd.positions - atoms.positions[-1], axis=1), kind="stable")[:12]
    assert set(lonely) == set(expected)


@pytest.mark.parametrize("pbc", [False, True])
def test_a_crowd_of_everybody_is_refused_before_memory_is_taken(pbc):
    """Coordinates in nm or in units of the cell: all 1e10 pairs are within the cutoff."""
    atoms = gas(100_000, [8.0] * 3, pbc)
    with pytest.raises(StructureError, match="far too close together"):
        NeighbourList(Radius(6.0)).graph(Structure.from_atoms(atoms))


def test_crowds_that_are_apart_are_no_crowd():
    """What is estimated is neighbours, not atoms: a million bins are not one."""
    atoms = gas(60_000, [1e10] * 3)
    assert len(radius_edges(Structure.from_atoms(atoms), 5.0)) == 0


@pytest.mark.parametrize("rule", [Radius(5.0), Nearest(3)])
@pytest.mark.parametrize(
    ("position", "cell"), [(1e12, 5.0), (-1e300, 5.0), (0.0, 1e12), (0.0, 1e300), (0.0, 1e-300), (0.0, 1e-9)]
)
def test_lengths_that_are_none_are_refused(rule, position, cell):
    atoms = Atoms("H2", positions=[[position, 0, 0], [1, 1, 1]], cell=[5, 5, cell], pbc=True)
    with pytest.raises(StructureError):
        NeighbourList(rule).graph(Structure.from_atoms(atoms))


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
def test_atoms_on_faces_corners_and_far_outside(pbc):
    """Coordinates at exactly zero or one cell length are where wrapping and images could miss or double a pair."""
    corners = np.array(list(itertools.product([-1e7, 0.0, 4.0], repeat=3)))
    atoms = Atoms("H27", positions=corners, cell=[4.0, 4.0, 4.0], pbc=pbc)
    assert_complete(atoms, 4.5)


@pytest.fixture(scope="module")
def functions():
    if find_compiler() is None:
        pytest.skip("no C++ compiler")
    return load_steps()


@contextmanager
def compiled(functions):
    """Searches are made by these functions, or by none."""
    before, steps.functions = steps.functions, functions
    try:
        yield
    finally:
        steps.functions = before


def searched(atoms, cutoff, functions):
    """All arrays of edges, and their opposites."""
    with compiled(functions):
        edges = radius_edges(Structure.from_atoms(atoms), cutoff)
        return edges.receivers, edges.senders, edges.shifts, edges.partners()


def assert_alike(atoms, cutoff, functions):
    by_tree, by_all_pairs = (searched(atoms, cutoff, each) for each in (None, functions))
    for one, other in zip(by_tree, by_all_pairs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def small(monkeypatch):
    """Whether each search was made by compiled code."""
    made = []
    plain = all_pairs.radius_edges_of_few

    def recorded(*given):
        found = plain(*given)
        made.append(found is not None)
        return found

    monkeypatch.setattr("halocline.graph.radius.radius_edges_of_few", recorded)
    return made


@settings(max_examples=60, deadline=None)
@given(structures(), st.floats(1.0, 7.0))
def test_compiled_code_finds_the_same_pairs_in_the_same_order(functions, atoms, cutoff):
    assert_alike(atoms, cutoff, functions)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32), st.tuples(*[st.booleans()] * 3), st.floats(0.5, 7.0))
def test_compiled_code_finds_the_same_images_in_small_skewed_cells(functions, count, seed, pbc, cutoff):
    """Many images of each atom; lattices that are reduced, in whose vectors images have another order."""
    rng = np.random.default_rng(seed)
    cell = rng.normal(0.0, 2.0, (3, 3)) + rng.integers(0, 3, 3)[:, None] * rng.normal(0.0, 2.0, 3)
    assume(abs(np.linalg.det(cell)) > 0.05 * np.prod(np.linalg.norm(cell, axis=1)))
    assume(np.linalg.norm(cell, axis=1).min() > 0.5)
    assert_alike(gas(count, cell, pbc, seed), cutoff, functions)


@pytest.mark.parametrize("cutoff", [3.61, 5.0])
def test_compiled_code_finds_the_same_in_a_perfect_crystal(functions, small, cutoff):
    """Whole shells lie at the cutoff, where every bit counts; atoms sit on the faces of the cell."""
    atoms = bulk("Cu", cubic=True, a=3.61) * (2, 2, 2)
    assert_alike(atoms, cutoff, functions)
    assert small == [False, True]


def test_edges_for_which_there_was_no_room_are_found(functions, monkeypatch):
    monkeypatch.setattr(all_pairs, "_expected", lambda structure, reach: 3)
    assert_alike(bulk("Cu", cubic=True), 4.0, functions)


def test_large_structures_are_left_to_the_tree(functions, small):
    with compiled(functions):
        radius_edges(Structure.from_atoms(gas(5000, [60.0] * 3)), 3.0)
    assert small == [False]
