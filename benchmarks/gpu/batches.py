"""Many structures at once: the same numbers, when memory runs out too, and how large a batch should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from statistics import median
from unittest import mock

import numpy as np
import torch
from ase import Atoms
from many_structures import cases
from matrix.axes import potential

from gpu.report import Record
from halocline.evaluator import batches as limits
from halocline.evaluator import make_runner
from halocline.evaluator.result import Result
from halocline.graph import Structure, joint_graph
from halocline.plugin import registry
from halocline.potential.many import AGREEMENT
from halocline.potential.potential import Potential
from halocline.program import Precision
from halocline.testing.structures import Samples

#: Repetitions whose median counts.
REPEATS = 3

#: Atoms of a batch.
SIZES = (64, 256, 1024, 4096, 16384, 65536)


def batches(device: str, quick: bool) -> Iterator[Record]:
    """Structures per second together beside one after another, and how far the results are apart."""
    for name, (model, structures) in _cases(quick).items():
        for dtype in Precision:
            options = {"dtype": dtype.value, "device": device}
            alone, slow = timed(lambda m=model, s=structures, o=options: [m(atoms, **o) for atoms in s])
            found, fast = timed(lambda m=model, s=structures, o=options: m(s, **o))
            share = max(map(apart, found, alone)) / AGREEMENT[dtype.value]
            rates = {"one_by_one_per_s": len(structures) / slow, "together_per_s": len(structures) / fast}
            yield {"case": name, "dtype": dtype.value, "of_agreement": share, "ok": share <= 1.0} | rates
    yield _without_memory(device)


def _cases(quick: bool) -> dict[str, tuple[Potential, list[Atoms]]]:
    """Waters, molecules and small crystals, each with its model."""
    found = cases()
    return {name: found[name] for name in list(found)[:1]} if quick else found


def timed(work: Callable[[], list[Result]]) -> tuple[list[Result], float]:
    """The results, and the median of wall-clock seconds after a first call."""
    found, seconds = work(), []
    for _ in range(REPEATS):
        started = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - started)
    return found, median(seconds)


def apart(found: Result, alone: Result) -> float:
    """The largest difference, by the scales of `AGREEMENT`."""
    pairs = {
        "energies": max(1.0, float(np.abs(alone.energies).sum())),
        "forces": max(1.0, float(np.abs(alone.forces).max())),
        "virial": max(1.0, float(np.abs(alone.virial).max())),
    }
    return max(float(np.abs(getattr(found, n) - getattr(alone, n)).max()) / scale for n, scale in pairs.items())


def _without_memory(device: str) -> Record:
    """A batch that fits into no memory that the process may have: smaller ones take its place."""
    record: Record = {"case": "64 liquids with too little memory"}
    if torch.device(device).type != "cuda":
        return record | {"skipped": "only memory of GPUs can be bounded so"}
    model = potential("schnet")
    liquids = [_moved(Samples(model.backbone).liquid, seed) for seed in range(64)]
    alone = [model(atoms, dtype="float64", device=device) for atoms in liquids]
    with mock.patch.object(limits, "MOST_AT_ONCE", 10**9):
        kept, needed = (
            torch.cuda.memory_allocated(),
            _peak(lambda: _fresh(model)(liquids, dtype="float64", device=device)),
        )
        bound = kept + (needed - kept) // 2
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(device).total_memory
        failed = torch.cuda.memory_stats()["num_ooms"]
        torch.cuda.set_per_process_memory_fraction(bound / total)
        try:
            found = _fresh(model)(liquids, dtype="float64", device=device)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    share = max(map(apart, found, alone)) / AGREEMENT["float64"]
    backed_off = torch.cuda.memory_stats()["num_ooms"] - failed
    return record | {
        "times_out_of_memory": backed_off,
        "of_agreement": share,
        "ok": share <= 1.0 and backed_off > 0,
    }


def _fresh(model: Potential) -> Potential:
    """With evaluators of its own, which have not backed off yet."""
    return Potential(model.backbone, model.reference_energies, {})


def _peak(work: Callable[[], object]) -> int:
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated()


def _moved(atoms: Atoms, seed: int) -> Atoms:
    moved = atoms.copy()
    moved.rattle(0.02, seed=seed)
    return moved


def sizes(device: str, quick: bool) -> Iterator[Record]:
    """µs per atom of batches of 64 atoms and more: where it no longer falls is what a batch should hold."""
    for name, (model, structures) in _cases(quick).items():
        for dtype in Precision:
            executor = registry().load("executor", "torch")(device=device)
            runner = make_runner(model.backbone, executor, dtype, exchange=False)
            for size in SIZES[:2] if quick else SIZES:
                some = list(islice(_so_many(structures, size), None))
                joint, _ = joint_graph(model.backbone.neighbours, [Structure.from_atoms(atoms) for atoms in some])
                _, seconds = timed(lambda r=runner, j=joint: r.run_together(j))
                counts = {"structures": len(joint), "atoms": int(joint.atoms[-1]), "edges": int(joint.edges[-1])}
                yield (
                    {"case": name, "dtype": dtype.value}
                    | counts
                    | {"us_per_atom": 1e6 * seconds / int(joint.atoms[-1])}
                )


def _so_many(structures: Sequence[Atoms], atoms: int) -> Iterator[Atoms]:
    """Structures, over and over, until they have so many atoms together."""
    count = 0
    while count < atoms:
        for each in structures:
            yield each
            count += len(each)
            if count >= atoms:
                return
