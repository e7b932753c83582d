"""Distributed evaluators for tests, and a look at their processes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from ase import Atoms
from structures import random_structure

from halocline.backends.ddp.evaluator import DdpEvaluator
from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.model.build import build_backbone
from halocline.partition import Division, Partitioner
from halocline.plugin import registry
from halocline.program import Precision

#: Of Σ|E_i|, of max(1 eV/Å, max|F|) and of max(1 eV, max|W|), in float64: ranks only change the order of sums.
EXACT = 1e-10

#: Seconds for something that takes a moment, on a machine that does much else.
SOON = 60.0


class Owners(Partitioner):
    """Owners as a test wants them at the time."""

    def __init__(self):
        self.choose = lambda atoms, parts: np.arange(atoms) * parts // atoms

    def owners(self, graph, parts):
        return np.asarray(self.choose(len(graph.structure), parts), np.int64)

    def divide_by(self, parts):
        """As a division."""
        return Division("chosen", self, parts)


def backbone(name):
    return build_backbone(name, registry().load("backbone", name).example_config(), seed=1)


def distributed(model, *, division=None, halo="auto", ranks=2, **options):
    return DdpEvaluator(model, Precision.FLOAT64, division, "cpu", halo, ranks=ranks, **options)


def local(model):
    return LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64)


def structures(model):
    """Every periodicity, cells thinner than the cutoff, molecules, atoms far apart, fewer atoms than ranks."""
    scale = model.neighbours.cutoff / 3.0
    cases = [random_structure(seed, symbols=model.species, atoms=14, edge=(2.5, 9.0)) for seed in range(5)]
    cases.append(random_structure(4, symbols=model.species, atoms=4, pbc=False, edge=(40.0, 50.0)))
    cases.append(Atoms(model.species[0]))
    cases.append(Atoms(model.species[0], cell=[3.0, 3.2, 3.4], pbc=True))
    for atoms in cases:
        yield Structure.from_atoms(
            Atoms(atoms.numbers, atoms.positions * scale, cell=atoms.cell * scale, pbc=atoms.pbc)
        )


def liquid(model, atoms=40, seed=7):
    """Somewhat larger, so that halos do not cover everything."""
    scale = model.neighbours.cutoff / 3.0
    found = random_structure(seed, symbols=model.species, atoms=atoms, pbc=True, edge=(8.0, 12.0))
    return Structure.from_atoms(Atoms(found.numbers, found.positions * scale, cell=found.cell * scale, pbc=True))


def require_equal(found, expected):
    scale = np.abs(expected.energies).sum()
    np.testing.assert_allclose(found.energies, expected.energies, rtol=0, atol=EXACT * scale)
    for name in ("forces", "virial"):
        reference = getattr(expected, name)
        tolerance = EXACT * max(1.0, np.abs(reference).max())
        np.testing.assert_allclose(getattr(found, name), reference, rtol=0, atol=tolerance)
    assert found.volume == expected.volume


def rank_processes(parent):
    """Process → rank, of all ranks that a process has started and that have not ended."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, ppid = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            variables = (folder / "environ").read_text().split("\0")
            command = (folder / "cmdline").read_text()
        except OSError:  # it has just ended
            continue
        ranks = [int(each[5:]) for each in variables if each.startswith("RANK=")]
        # Just forked, it is still a copy of its starter: it has that one's command and no rank.
        if int(ppid) == parent and state != "Z" and "ddp" in command and ranks:
            found[int(folder.name)] = ranks[0]
    return found


def process_of(rank, parent):
    """The process of one rank, where there is one evaluator."""
    (found,) = (pid for pid, each in rank_processes(parent).items() if each == rank)
    return found


def has_ended(pid):
    """Whether a process is gone; one that nobody has waited for counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(condition, seconds=SOON):
    """Wait for something that is going to happen."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
