"""Every rule gives exactly the neighbours that trying all images of all atoms gives, at every step, with ties."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from structures import random_structure

from halocline.errors import UsageError
from halocline.graph import Nearest, NeighbourList, Radius, Several, Structure, Triplets, joint_graph
from halocline.graph.rules import is_ranked, narrower, reach, single_rules

CUTOFF = 3.2
RULES = [
    *(
        Nearest(count, CUTOFF, kept_by)
        for count in (1, 4, 60)
        for kept_by in ("receiver", "sender", "either", "both")
    ),
    *(Nearest(3, kept_by=kept_by) for kept_by in ("sender", "either", "both")),
    Several((Radius(CUTOFF), Radius(2.0))),
    Several((Nearest(3, CUTOFF), Nearest(6, CUTOFF, "either"), Radius(2.5))),
    Several((Nearest(2), Radius(CUTOFF))),
]

#: Images tried in each direction.
IMAGES = 4


def structures():
    """Every periodicity; cells thinner than the cutoff, with several images of a neighbour; crystals with ties."""
    for seed, pbc in enumerate(itertools.product((False, True), repeat=3)):
        yield random_structure(seed, atoms=5 + seed, pbc=pbc, edge=(2.6, 6.0), outside=seed % 2 == 0)
    yield bulk("Cu", "fcc", a=3.6)
    yield bulk("NaCl", "rocksalt", a=4.2)
    yield Atoms("H2O", positions=[[0, 0, 0], [0.96, 0, 0], [0, 0, 0.96]])
    yield Atoms("H")


@cache
def every_structure():
    found = list(map(Structure.from_atoms, structures()))
    return [(structure, ranked(structure)) for structure in found]


def ranked(structure):
    """Receiver → (distance, sender, shift) of all others, nearest first, of equals the lower."""
    ranges = [range(-IMAGES, IMAGES + 1) if periodic else (0,) for periodic in structure.pbc]
    shifts = list(itertools.product(*ranges))
    found = {i: [] for i in range(len(structure))}
    for i, j in itertools.product(found, repeat=2):
        distances = np.linalg.norm(vectors(structure, i, j, np.array(shifts)), axis=1).tolist()
        found[i] += [(d, j, shift) for d, shift in zip(distances, shifts, strict=True) if i != j or any(shift)]
    return {i: sorted(near) for i, near in found.items()}


def brute_force(near, rule):
    """The set of edges that a single rule keeps, as (receiver, sender, shift)."""
    found = {i: [each for each in ranked if each[0] < rule.cutoff] for i, ranked in near.items()}
    if isinstance(rule, Radius):
        return {(i, j, shift) for i, some in found.items() for _, j, shift in some}
    by_receiver = {(i, j, shift) for i, some in found.items() for _, j, shift in some[: rule.count]}
    by_sender = set(map(opposite, by_receiver))
    return {
        "receiver": by_receiver,
        "sender": by_sender,
        "either": by_receiver | by_sender,
        "both": by_receiver & by_sender,
    }[rule.kept_by]


def opposite(edge):
    i, j, shift = edge
    return j, i, tuple(-step for step in shift)


def vectors(structure, i, j, shifts):
    """As the product forms them, to the bit: what is a tie there is one here."""
    found = np.repeat((structure.positions[j] - structure.positions[i])[None], len(shifts), 0)
    for axis in np.flatnonzero(structure.pbc):
        for component in np.flatnonzero(structure.cell[axis]):
            found[:, component] += shifts[:, axis] * structure.cell[axis, component]
    return found


def as_list(edges):
    return [
        (int(i), int(j), tuple(s.tolist()))
        for i, j, s in zip(edges.receivers, edges.senders, edges.shifts, strict=True)
    ]


def require_brute_force(graph, near, rule):
    """The lists of all rules, their union with all opposites, in canonical order."""
    expected = {each: brute_force(near, each) for each in single_rules(rule)}
    everything = set().union(*expected.values())
    everything |= set(map(opposite, everything))
    assert as_list(graph.edges) == sorted(everything)
    assert as_list(graph.edges.take(graph.partners).opposite()) == as_list(graph.edges)
    assert graph.sets.rules == narrower(rule)
    for each, places in zip(graph.sets.rules, graph.sets.places, strict=True):
        assert as_list(graph.edges.take(places)) == sorted(expected[each])
    for each in set(single_rules(rule)) - set(narrower(rule)):
        assert expected[each] == everything


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_are_what_brute_force_finds(rule):
    for structure, near in every_structure():
        require_brute_force(NeighbourList(rule).graph(structure), near, rule)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_follow_a_moving_structure(rule):
    """Kept candidates are ranked anew at every step; they are searched anew where there is no cutoff."""
    rng = np.random.default_rng(0)
    atoms = random_structure(3, atoms=8, pbc=(True, True, False), edge=(4.0, 6.0))
    neighbours = NeighbourList(rule, skin=0.8)
    for step in range(6):
        structure = Structure.from_atoms(atoms)
        require_brute_force(neighbours.graph(structure), ranked(structure), rule)
        again = neighbours.graph(structure)
        if reach(rule) < np.inf:
            first = neighbours.graph(structure)
            assert again.edges is first.edges
            assert again.sets is first.sets
        atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
        atoms.set_cell(atoms.cell * (1.0 + 0.003 * step), scale_atoms=True)
    assert neighbours.searches < 6 or reach(rule) == np.inf


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_of_many_structures_are_those_of_each(rule):
    alone = [Structure.from_atoms(atoms) for atoms in structures()]
    joint, failures = joint_graph(rule, alone)
    assert not failures
    for place, structure in enumerate(alone):
        found, expected = joint.some(place, place + 1).graph, NeighbourList(rule).graph(structure)
        assert as_list(found.edges) == as_list(expected.edges)
        assert np.array_equal(found.vectors, expected.vectors)
        assert np.array_equal(found.partners, expected.partners)
        assert all(map(np.array_equal, found.sets.places, expected.sets.places))


def test_plain_nearest_neighbours_are_a_list_of_their_own():
    assert Nearest(3).is_plain
    assert not is_ranked(Nearest(3))
    assert narrower(Nearest(3)) == ()
    assert NeighbourList(Nearest(3)).graph(Structure.from_atoms(bulk("Cu"))).partners is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Nearest(3, 0.0), "A cutoff must be a positive length"),
        (
            lambda: Nearest(3, 4.0, "all"),
            "Edges are kept by receiver, .* of their ends, not by 'all'",
        ),
        (lambda: Several(()), "must be there and differ"),
        (lambda: Several((Radius(3.0), Radius(3.0))), "must be there and differ"),
        (lambda: Triplets(Radius(3.0), Radius(3.0), "middle"), "at the receiver, sender or opposite"),
    ],
)
def test_impossible_rules_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
