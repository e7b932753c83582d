"""Ranks hand over rows and agree on sums, and atoms keep every bit on their way."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from thread_peers import on_ranks

from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms


def rows_for(sender, receiver, length=None):
    """Rows that tell who sent them to whom; in most pairs there are none."""
    length = (sender * 5 + receiver * 3) % 4 if length is None else length
    return np.full((length, 2), 10.0 * sender + receiver)


def check(peers):
    """Swaps with and without known lengths, and sums; returns a total."""
    here, everyone = peers.rank, range(peers.size)
    expected = [rows_for(other, here) for other in everyone]
    for lengths in (None, [len(rows) for rows in expected]):
        found = peers.swap([rows_for(here, other) for other in everyone], lengths)
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    found = peers.swap([np.arange(other) + 2**60 + here for other in everyone])
    assert [each.tolist() for each in found] == [[2**60 + other + i for i in range(here)] for other in everyone]
    assert peers.total(np.array([here])).tolist() == [sum(everyone)]
    return peers.total(np.array([0.1 * (here + 1), 1e16 * (-1.0) ** here]))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_rows_arrive_where_they_should_and_sums_are_the_same_everywhere(size):
    assert len({total.tobytes() for total in on_ranks(size, check)}) == 1


def owned(ids, conditions=True):
    random = np.random.default_rng(3)
    atoms = Atoms("HCNOF" * 4, random.normal(size=(20, 3)) * 1e3, momenta=random.normal(size=(20, 3)))
    atoms.set_constraint([FixAtoms([1, 2, 7]), FixAtoms([-1])])
    told = {"charge": np.full(20, -2), "spin": np.linspace(0.0, 0.1, 20)} if conditions else None
    return OwnedAtoms.of(atoms, np.array(ids, np.int64), told)


def require_same(one, other):
    for name in OwnedAtoms.__slots__:
        left, right = getattr(one, name), getattr(other, name)
        if name == "conditions":
            assert list(left) == list(right)
            assert all(left[key].dtype == right[key].dtype for key in left)
            assert all(np.array_equal(left[key], right[key]) for key in left)
        else:
            assert left.dtype == right.dtype
            assert np.array_equal(left, right)


@pytest.mark.parametrize("conditions", [False, True])
def test_atoms_that_went_apart_come_together_again_to_the_bit(conditions):
    everyone = owned(range(20), conditions)
    some, others = owned([1, 4, 19], conditions), owned(sorted(set(range(20)) - {1, 4, 19}), conditions)
    require_same(some.merged([others.packed(), some.packed()]), everyone)
    require_same(everyone.take(np.array([1, 4, 19])), some)
    assert some.fixed.tolist() == [True, False, True]
    nobody = owned([], conditions)
    require_same(nobody.merged([nobody.packed(), some.packed()]), some)
    assert len(nobody) == 0
