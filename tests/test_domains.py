"""Ranks that hold a domain each add up to the whole structure, whatever they own."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from structures import random_structure
from test_partitioned import MODELS, backbone, evaluator, require_equal, structures

from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import Links, make_runner
from halocline.evaluator.result import Result
from halocline.graph import NeighbourList, Structure
from halocline.graph.rules import is_ranked
from halocline.partition import build_domains, domain_graph
from halocline.program import Precision


class Threads(Links):
    """Connections between ranks that are threads of this process."""

    def __init__(self, rank, domains, boards, barrier):
        self.rank, self.domains, self.boards, self.barrier = rank, domains, boards, barrier

    def forward(self, rows):
        self._post(rows)
        for other, places in enumerate(self.domains[self.rank].receives):
            if len(places):
                rows[places] = self.boards[other][self.domains[other].sends[self.rank]]
        self.barrier.wait()

    def backward(self, rows):
        self._post(rows)
        for other, places in enumerate(self.domains[self.rank].sends):
            if len(places):
                halo = self.boards[other][self.domains[other].receives[self.rank]]
                rows.index_add_(0, torch.from_numpy(places), halo)
        rows[self.domains[self.rank].owned :] = 0.0
        self.barrier.wait()

    def _post(self, rows):
        self.boards[self.rank] = rows.clone()
        self.barrier.wait()


def on_ranks(model, structure, owners, parts, ranks, exchange):
    """Evaluate with one thread for each rank that owns anything."""
    neighbours = NeighbourList(model.neighbours)
    neighbours.refresh(structure)
    reach = max(stage.spec.hops for _, stage in model.stages()) if exchange else model.hops
    domains = build_domains(
        structure,
        neighbours.candidates,
        neighbours.partners,
        owners,
        parts=parts,
        ranks=ranks,
        reach=reach,
        exchange=exchange,
        ranked=is_ranked(model.neighbours),
    )
    active = [rank for rank, domain in enumerate(domains) if domain.owned]
    boards, barrier = [None] * ranks, threading.Barrier(len(active), timeout=20.0)
    contributions = {}

    def work(rank):
        domain = domains[rank]
        runner = make_runner(model, TorchExecutor("cpu"), Precision.FLOAT64, exchange=exchange)
        positions = structure.positions[domain.atoms]
        graph = domain_graph(domain, positions, structure.cell, structure.pbc, model.neighbours)
        contributions[rank] = runner.run(graph, domain.parts, Threads(rank, domains, boards, barrier))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in active]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    energies, forces, virial = np.zeros(len(structure)), np.zeros((len(structure), 3)), np.zeros((3, 3))
    for rank, contribution in contributions.items():
        domain = domains[rank]
        energies[domain.atoms[: domain.owned]] = contribution.energies
        forces[domain.atoms] += contribution.forces
        virial += contribution.virial
    return Result(energies=energies, forces=forces, virial=virial, volume=structure.volume)


@pytest.mark.parametrize("exchange", [False, True], ids=["recompute", "exchange"])
@pytest.mark.parametrize(("name", "depth"), MODELS)
def test_ranks_with_random_owners_are_the_whole(name, depth, exchange):
    model = backbone(name, depth)
    for seed, atoms in enumerate(structures(model)):
        structure = Structure.from_atoms(atoms)
        expected = evaluator(model).evaluate(structure)
        for parts, ranks in ((2, 2), (5, 3), (2, 5)):  # one part each; several; ranks without any
            owners = np.random.default_rng(seed).integers(0, parts, len(structure))
            require_equal(on_ranks(model, structure, owners, parts, ranks, exchange), expected)


def test_halos_follow_the_exchanged_stage_instead_of_the_model():
    model = backbone("schnet", 4)
    atoms = random_structure(6, symbols=model.species, atoms=80, pbc=True, edge=(18.0, 19.0), outside=False)
    structure = Structure.from_atoms(atoms)
    neighbours = NeighbourList(model.neighbours)
    neighbours.refresh(structure)
    owners = (structure.positions[:, 0] > np.median(structure.positions[:, 0])).astype(np.int64)
    common = (structure, neighbours.candidates, neighbours.partners, owners)
    exchanged = build_domains(*common, parts=2, ranks=2, reach=1, exchange=True)
    recomputed = build_domains(*common, parts=2, ranks=2, reach=model.hops, exchange=False)
    for near, far in zip(exchanged, recomputed, strict=True):
        assert len(near.atoms) < len(far.atoms)
        assert sum(map(len, near.receives)) == len(near.atoms) - near.owned
        assert not any(map(len, (*far.sends, *far.receives)))
