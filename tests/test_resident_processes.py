"""Ranks that are processes do what threads do: rows go through torch.distributed, and a lost rank is told of."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from test_resident_domains import RULES, SKIN, STRUCTURES, require_same
from test_resident_peers import check
from torch import distributed

from halocline.backends.ddp.links import LostPeerError
from halocline.backends.ddp.resident.building import build_resident_domain
from halocline.backends.ddp.resident.frame import Frame
from halocline.backends.ddp.resident.migration import settle
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.backends.ddp.resident.peers import GroupPeers
from halocline.backends.ddp.resident.regions import Regions
from halocline.graph import Structure
from halocline.graph.neighbours import search
from halocline.partition import build_domains

RANKS = 2


def be_rank(rank, meeting):
    """What each process does; the second one ends before the first is done."""
    store = distributed.FileStore(meeting, RANKS)
    distributed.init_process_group(
        "gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(seconds=60.0)
    )
    peers = GroupPeers(distributed.group.WORLD, rank, RANKS)
    check(peers)
    compare(STRUCTURES["bulk"], peers)
    if rank == 1:
        os._exit(0)
    with pytest.raises(LostPeerError, match="lost the connection to another rank, one of 1"):
        peers.swap([np.zeros(3), np.zeros(3)])
    os._exit(0)  # not to wait for the group to end, which it cannot in order


def compare(atoms, peers):
    """Domains of ranks that settle first, with those that are cut out of the whole list."""
    structure, rule = (
        Structure.from_atoms(atoms).under({"charge": np.zeros(len(atoms), np.int64)}),
        RULES["ranked"],
    )
    frame = Frame.of(structure.cell, structure.pbc)
    mine = OwnedAtoms.of(atoms, np.arange(peers.rank, len(atoms), RANKS), structure.conditions)
    regions = Regions.balanced(mine.positions, frame, peers)
    mine = settle(mine, regions, frame, peers)
    ours = build_resident_domain(mine, structure.cell, structure.pbc, rule, SKIN, 2, peers)
    owners = regions.owners(frame.wrapped(structure.positions))
    options = {"parts": RANKS, "ranks": RANKS, "reach": 2, "exchange": False, "ranked": True}
    expected = build_domains(structure, *search(rule, structure, SKIN), owners, **options)[peers.rank]
    require_same(ours.domain, expected, peers.rank)
    assert np.array_equal(ours.positions(mine.positions, peers), atoms.positions[ours.domain.atoms])
    counts = ours.forces(np.ones((len(ours.domain.atoms), 3)), peers)
    assert peers.total(np.array([counts[:, 0].sum(), -len(ours.domain.atoms)])).sum() == 0


@pytest.mark.slow
def test_processes_build_domains_and_notice_that_one_is_gone(tmp_path):
    program = [sys.executable, __file__, str(tmp_path / "meeting")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    ranks = [subprocess.Popen([*program, str(rank)], env=environment) for rank in range(RANKS)]
    try:
        assert [rank.wait(120.0) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()


if __name__ == "__main__":
    be_rank(int(sys.argv[2]), str(Path(sys.argv[1])))
