"""Bonds, molecules, angles and hydrogen bonds that the audit finds, against their definitions, atom by atom."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii

from halocline.audit.geometry.angles import angle_between, bond_angles
from halocline.audit.geometry.bonds import SLACK, Surroundings
from halocline.audit.geometry.hydrogen_bonds import hydrogen_bonds
from halocline.audit.geometry.molecules import molecules_of
from halocline.errors import StructureError

#: Degrees and Å, rounding of positions that were wrapped, turned and moved.
ROUNDING = 1e-9


def formulas(atoms):
    found = molecules_of(Surroundings.of(atoms))
    return None if found is None else found.formulas


def box_of_water(side=3, spacing=3.1, seed=0):
    """Molecules of water on a grid in a cell without right angles, turned at random."""
    rng = np.random.default_rng(seed)
    atoms = Atoms()
    for place in itertools.product(range(side), repeat=3):
        water = molecule("H2O")
        water.rattle(0.02, rng=rng)
        water.rotate(*rng.uniform(0, 360, 1), rng.normal(size=3), center="COM")
        water.translate(spacing * np.array(place))
        atoms += water
    length = side * spacing
    atoms.set_cell([[length, 0, 0], [1.5, length, 0], [-1.0, 0.8, length]])
    atoms.pbc = True
    return atoms


def test_molecules_are_found_across_the_faces_of_a_cell():
    atoms = box_of_water()
    assert formulas(atoms) == {"H2O": 27}
    atoms.positions += atoms.cell.array.sum(axis=0) * 0.37
    atoms.wrap()
    assert formulas(atoms) == {"H2O": 27}
    found = molecules_of(Surroundings.of(atoms))
    assert [set(found.of_atoms[i : i + 3]) for i in range(0, 81, 3)] == [
        {found.of_atoms[i]} for i in range(0, 81, 3)
    ]


def test_molecules_of_a_mixture_do_not_depend_on_the_order_of_atoms():
    mixture = Atoms()
    for place, name in enumerate(["CH3CH2OH", "H2O", "NH3", "H2O", "C6H6"]):
        part = molecule(name)
        part.translate([8.0 * place, 0, 0])
        mixture += part
    expected = {"C2H6O": 1, "C6H6": 1, "H2O": 2, "H3N": 1}
    assert formulas(mixture) == expected
    assert formulas(mixture[np.random.default_rng(1).permutation(len(mixture))]) == expected


@pytest.mark.parametrize(
    "crystal", [bulk("Si"), bulk("Cu"), bulk("Si", cubic=True) * 2, bulk("Ar"), Atoms("Ar3", np.eye(3) * 9)]
)
def test_what_is_not_made_of_molecules_has_none(crystal):
    assert formulas(crystal) is None


def test_a_chain_that_closes_through_the_cell_is_no_molecule_but_a_piece_of_it_is():
    chain = Atoms("C2", [[0, 0, 0], [1.4, 0, 0]], cell=[2.8, 20, 20], pbc=True)
    assert formulas(chain) is None
    chain.pbc = (False, True, True)
    assert formulas(chain) == {"C2": 1}


def test_ions_of_metals_do_not_join_what_dissolves_them():
    solvated = molecule("H2O") + Atoms("Li", [[0, 0, 1.9]])
    assert formulas(solvated) == {"H2O": 1, "Li": 1}


def test_bonds_are_those_of_covalent_radii_and_their_angles_those_of_ase():
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=3)
    found = Surroundings.of(atoms)
    distances = atoms.get_all_distances()
    radii = covalent_radii[atoms.numbers]
    expected = (distances < radii[:, None] + radii + SLACK) & (distances > 0)
    bonded = np.zeros_like(expected)
    bonded[found.edges.receivers[found.bonded], found.edges.senders[found.bonded]] = True
    np.testing.assert_array_equal(bonded, expected)
    angles = [
        atoms.get_angle(a, vertex, b)
        for vertex in range(len(atoms))
        for a, b in itertools.combinations(np.flatnonzero(expected[vertex]), 2)
    ]
    kinds, values = bond_angles(found)
    np.testing.assert_allclose(np.sort(values), np.sort(angles), atol=1e-6)  # ASE takes an arccosine
    assert kinds.shape == (3, len(angles))


def test_angles_keep_their_digits_where_arccosines_lose_them():
    small = np.radians(1e-7)
    vectors = np.array([[np.cos(small), np.sin(small), 0.0]])
    assert angle_between(np.array([[1.0, 0, 0]]), vectors)[0] == pytest.approx(1e-7, rel=1e-9)
    assert angle_between(np.array([[-1.0, 0, 0]]), vectors)[0] == pytest.approx(180.0 - 1e-7, abs=1e-12)


def hydrogen_bonds_of_water(atoms):
    """Kumar, Schmidt and Skinner's bonds, pair by pair with minimum images: (donor, hydrogen, acceptor)."""
    found = []
    oxygens = range(0, len(atoms), 3)
    for donor, acceptor in itertools.permutations(oxygens, 2):
        arms = [atoms.get_distance(acceptor, acceptor + k, mic=True, vector=True) for k in (1, 2)]
        normal = np.cross(*arms)
        for hydrogen in (donor + 1, donor + 2):
            ray = atoms.get_distance(hydrogen, acceptor, mic=True, vector=True)
            length = np.linalg.norm(ray)
            cosine = abs(ray @ normal) / length / np.linalg.norm(normal)
            psi = np.degrees(np.arccos(min(1.0, cosine)))
            occupancy = np.exp(-length / 0.343) * (7.1 - 0.05 * psi + 0.00021 * psi**2)
            if length < 2.8 and occupancy >= 0.0085:
                found.append((donor, hydrogen, acceptor))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_hydrogen_bonds_of_water_are_those_of_their_definition(seed):
    atoms = box_of_water(spacing=2.8, seed=seed)
    found = hydrogen_bonds(Surroundings.of(atoms, 3.5))
    bonds = list(zip(found.donors.tolist(), found.hydrogens.tolist(), found.acceptors.tolist(), strict=True))
    assert len(bonds) > 10
    assert sorted(bonds) == sorted(hydrogen_bonds_of_water(atoms))
    for place, (donor, hydrogen, acceptor) in enumerate(bonds):
        assert found.distances[place] == pytest.approx(
            atoms.get_distance(hydrogen, acceptor, mic=True), abs=ROUNDING
        )
        assert found.spans[place] == pytest.approx(atoms.get_distance(donor, acceptor, mic=True), abs=ROUNDING)
        assert found.angles[place] == pytest.approx(atoms.get_angle(donor, hydrogen, acceptor, mic=True), abs=1e-6)
        mine = np.sort(found.acceptor_angles[found.places == place])
        theirs = sorted(atoms.get_angle(hydrogen, acceptor, acceptor + k, mic=True) for k in (1, 2))
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_hydrogen_bonds_to_others_are_judged_by_distance_and_angle():
    ammonia = molecule("NH3")
    water = molecule("H2O")
    water.positions -= water.positions[1]  # one hydrogen to the origin, and its bond along x
    water.rotate(water.positions[0] - water.positions[1], [-1, 0, 0], center=(0, 0, 0))
    ammonia.positions -= ammonia.positions[0]
    ammonia.rotate([0, 0, 1], [-1, 0, 0], center=(0, 0, 0))  # hydrogens away from the water
    if ammonia.positions[1:, 0].mean() < 0:
        ammonia.rotate([1, 0, 0], [-1, 0, 0], center=(0, 0, 0))
    for gap, expected in ((2.0, 1), (2.4, 1), (2.7, 0)):
        pair = water.copy()
        moved = ammonia.copy()
        moved.translate([gap, 0, 0])
        found = hydrogen_bonds(Surroundings.of(pair + moved, 3.5))
        assert len(found.donors) == expected, gap
        if expected:
            assert found.kinds.ravel().tolist() == [8, 7]
            assert found.distances[0] == pytest.approx(gap)


def test_structures_that_have_no_geometry_are_refused_by_name():
    with pytest.raises(StructureError, match="no atoms"):
        Surroundings.of(Atoms())
    with pytest.raises(StructureError, match="sit on one point"):
        Surroundings.of(Atoms("H2", np.zeros((2, 3))))
