"""Domains that ranks build by themselves are those that are cut out of the whole structure's list."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from structures import random_structure
from thread_peers import on_ranks

from halocline.backends.ddp.resident.building import build_resident_domain
from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.migration import settle
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.regions import Regions
from halocline.errors import UsageError
from halocline.graph import Nearest, Radius, Several, Structure
from halocline.graph.neighbours import search
from halocline.graph.rules import is_ranked
from halocline.partition import Domain, build_domains

SKIN = 0.4
RULES = {
    "radius": Radius(3.1),
    "two radii": Several((Radius(3.4), Radius(2.2))),
    "ranked": Several((Radius(2.7), Nearest(4, 3.2, "either"))),
}


def skewed():
    """A crystal by lattice vectors that hide its symmetry, and atoms many cells away from each other."""
    atoms = bulk("Al", cubic=True).repeat((2, 2, 3))
    cell = np.array([[1, 0, 0], [4, 1, 0], [-3, 5, 1]]) @ atoms.cell.array
    atoms.set_cell(cell)
    atoms.positions += np.random.default_rng(1).integers(-9, 10, (len(atoms), 3)) @ cell
    atoms.rattle(0.1, seed=2)
    return atoms


def straddling():
    """A slab far above its cell, one of whose periods is shorter than the cutoff."""
    atoms = fcc111("Cu", (1, 9, 3), vacuum=6.0)
    atoms.rattle(0.05, seed=3)
    atoms.translate([0.0, 0.0, 100.0])
    return atoms


STRUCTURES = {
    "bulk": random_structure(1, atoms=70, pbc=True, edge=(9.0, 14.0)),
    "random periods": random_structure(4, atoms=40, edge=(5.0, 12.0)),
    "molecule": random_structure(5, atoms=30, pbc=False, edge=(6.0, 12.0)),
    "chain": random_structure(6, atoms=30, pbc=(False, True, False), edge=(6.0, 12.0)),
    "thin": random_structure(7, atoms=4, pbc=True, edge=(2.6, 4.0)),
    "skewed": skewed(),
    "slab": straddling(),
    "one atom": Atoms("H", cell=[2.0, 2.5, 3.0], pbc=True),
    "lonely": Atoms("H2", [[0.0, 0.0, 0.0], [900.0, 0.0, 0.0]]),
}


def of_whole(atoms, conditions):
    return Structure.from_atoms(atoms).under(conditions)


def built(atoms, owners, rule, hops, ranks, exchange=False):
    """The domains of ranks that own what they are told to, and those that are cut out of the whole list."""
    structure = of_whole(atoms, {"charge": np.arange(len(atoms))})
    candidates, partners = search(rule, structure, SKIN)
    expected = build_domains(
        structure,
        candidates,
        partners,
        owners,
        parts=ranks,
        ranks=ranks,
        reach=hops,
        exchange=exchange,
        ranked=is_ranked(rule),
    )

    def work(peers):
        mine = OwnedAtoms.of(atoms, np.flatnonzero(owners == peers.rank), structure.conditions)
        cell, pbc = structure.cell, structure.pbc
        return build_resident_domain(mine, cell, pbc, rule, SKIN, hops, peers, exchange=exchange)

    return on_ranks(ranks, work), expected


def require_same(found, expected, rank):
    for name in Domain.__slots__:
        left, right = getattr(found, name), getattr(expected, name)
        if name == "parts":
            assert len(left) == len(right)
        elif name == "edges":
            assert np.array_equal(left.receivers, right.receivers)
            assert np.array_equal(left.senders, right.senders)
            assert np.array_equal(left.shifts, right.shifts)
        elif name == "conditions":
            assert np.array_equal(left["charge"], right["charge"])
        elif name in ("sends", "receives"):
            assert all(np.array_equal(*each) for each in zip(left, right, strict=True)), (name, rank)
        else:
            assert np.array_equal(left, right), (name, rank)


def regional(atoms, ranks):
    """The rank of each atom by balanced regions."""
    frame = Frame.of(atoms.cell.array, atoms.pbc)
    shares = np.arange(len(atoms)) % ranks
    return on_ranks(
        ranks,
        lambda peers: Regions.balanced(atoms.positions[shares == peers.rank], frame, peers).owners(
            frame.wrapped(atoms.positions)
        ),
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("atoms", STRUCTURES.values(), ids=STRUCTURES)
def test_they_are_those_of_the_whole_list(atoms, rule):
    for ranks, hops, scattered, exchange in (
        (1, 2, False, False),
        (2, 1, False, True),
        (3, 3, False, False),
        (8, 2, False, True),
        (3, 2, True, False),
        (3, 1, True, True),
        (2, 0, False, True),
    ):
        owners = regional(atoms, ranks)[0]
        if scattered:  # ranks that own atoms everywhere, or none
            owners = np.random.default_rng(ranks).integers(0, 2, len(atoms))
        found, expected = built(atoms, owners, rule, hops, ranks, exchange)
        for rank, (one, other) in enumerate(zip(found, expected, strict=True)):
            require_same(one.domain, other, rank)


def test_positions_go_out_to_halos_and_forces_come_back():
    atoms, ranks = STRUCTURES["bulk"], 5
    owners = regional(atoms, ranks)[0]
    pulls = [np.random.default_rng(rank).normal(size=(len(atoms), 3)) for rank in range(ranks)]

    def work(peers):
        mine = OwnedAtoms.of(atoms, np.flatnonzero(owners == peers.rank))
        ours = build_resident_domain(mine, atoms.cell.array, atoms.pbc, RULES["radius"], SKIN, 2, peers)
        held = ours.domain.atoms
        assert np.array_equal(ours.positions(mine.positions, peers), atoms.positions[held])
        return held, ours.forces(pulls[peers.rank][held], peers)

    results, expected = on_ranks(ranks, work), np.zeros((len(atoms), 3))
    for rank, (held, _) in enumerate(results):
        expected[held] += pulls[rank][held]
    found = np.zeros_like(expected)
    for rank, (_, forces) in enumerate(results):
        found[owners == rank] = forces
    assert len(results[0][0]) > (owners == 0).sum()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * ranks)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7, 8])
def test_regions_are_balanced_and_the_same_for_all(ranks):
    atoms = random_structure(1, atoms=1, pbc=(True, True, False), edge=(20.0, 30.0)).repeat((9, 12, 1))
    atoms.positions += np.random.default_rng(0).normal(size=(len(atoms), 3)) * [9.0, 9.0, 1.0]
    found = regional(atoms, ranks)
    assert all(np.array_equal(one, found[0]) for one in found)
    # A cut is off by the atoms of one bin at most; these are scattered, so hardly any bin has two.
    counts = np.bincount(found[0], minlength=ranks)
    assert counts.max() - counts.min() <= 1 + ranks.bit_length()
    assert np.array_equal(regional(atoms[::-1], ranks)[0][::-1], found[0])


def test_atoms_settle_where_their_region_is_and_nothing_of_them_is_lost():
    atoms, ranks = STRUCTURES["random periods"], 6
    atoms.set_momenta(np.random.default_rng(8).normal(size=(len(atoms), 3)))
    frame = Frame.of(atoms.cell.array, atoms.pbc)

    def work(peers):
        mine = OwnedAtoms.of(atoms, np.arange(peers.rank, len(atoms), ranks))
        regions = Regions.balanced(mine.positions, frame, peers)
        mine = settle(mine, regions, frame, peers)
        assert (regions.owners(frame.wrapped(mine.positions)) == peers.rank).all()
        assert np.array_equal(mine.packed(), OwnedAtoms.of(atoms, mine.ids).packed())
        mine.positions[:] += frame.lattice.vectors.sum(axis=0) * 3.0 + 1.0
        return [mine.ids, settle(mine, regions, frame, peers).ids]

    for ids in zip(*on_ranks(ranks, work), strict=True):
        assert np.array_equal(np.sort(np.concatenate(ids)), np.arange(len(atoms)))


def test_ranks_that_are_far_from_each_other_say_nothing_to_each_other():
    atoms, ranks = bulk("Ar", "sc", a=3.0).repeat((40, 2, 2)), 8
    owners = regional(atoms, ranks)[0]
    found, _ = built(atoms, owners, RULES["radius"], 1, ranks)
    for ours in found:
        assert sum(len(rows) > 0 for rows in ours.sends) == 2
        assert len(ours.domain.atoms) < 2 * ours.domain.owned


def test_neighbours_at_any_distance_are_refused_by_name():
    with pytest.raises(UsageError, match="nearest neighbours without a cutoff"):
        built(STRUCTURES["bulk"], np.zeros(70, np.int64), Nearest(3), 1, 1)
