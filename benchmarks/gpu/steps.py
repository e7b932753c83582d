"""Steps of dynamics on the device: µs per atom, bytes per atom, and the share of what the device could do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import torch
from ase import Atoms
from matrix.axes import potential

import halocline
from gpu.parity import WATER
from gpu.report import Record
from gpu.roof import Roof, Work, measure_roof, work_of
from halocline.bench.memory import peak_memory
from halocline.bench.structures import Motion, disordered_box
from halocline.errors import HaloclineError
from halocline.memory.live_bytes import is_out_of_memory
from halocline.potential.potential import Potential
from halocline.program import Precision

#: Atoms/Å³ of the boxes: liquid water.
DENSITY = 0.1

#: Steps before the clock counts, and those that are timed; none begins after so many seconds.
WARM_UP, STEPS, SECONDS = 3, 20, 3.0

SIZES = (100, 1_000, 10_000, 100_000)


def steps(device: str, quick: bool) -> Iterator[Record]:
    """Eager first, then compiled; from a hundred atoms up to what fits."""
    roofs = {dtype: measure_roof(device, dtype) for dtype in Precision}
    for dtype, roof in roofs.items():
        yield {"roof": dtype.value} | roof._asdict()
    models = {WATER: halocline.load(WATER), "m3gnet": potential("m3gnet")}
    backends = ("torch",) if quick else ("torch", "torch:compile=inductor")
    for backend in backends:
        for dtype, roof in roofs.items():
            for name, model in models.items():
                for atoms in SIZES[:1] if quick else SIZES:
                    box = disordered_box(model.species, atoms, DENSITY)
                    what = {"model": name, "backend": backend, "dtype": dtype.value, "atoms": atoms}
                    yield what | _timed(model, backend, dtype, device, box, roof)


def _timed(model: Potential, backend: str, dtype: Precision, device: str, box: Atoms, roof: Roof) -> Record:
    """One measurement; a lack of memory is a result."""
    motion, seconds = Motion(box), []
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = peak_memory(device)
    evaluator = model.evaluator(backend, dtype.value, device, "none", "auto")
    try:
        for step in range(WARM_UP + STEPS):
            started = time.perf_counter()
            model.evaluate_with(evaluator, motion.step())
            if step >= WARM_UP:
                seconds.append(time.perf_counter() - started)
            if sum(seconds) > SECONDS:
                break
        found = {
            "us_per_atom": 1e6 * median(seconds) / len(box),
            "steps": len(seconds),
            "bytes_per_atom": (peak_memory(device) - before) / len(box),
        }
        if backend == "torch":  # what is compiled asks for less
            found |= _of_roof(
                roof, work_of(lambda: model.evaluate_with(evaluator, motion.step())), median(seconds)
            )
    except (HaloclineError, RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return {"out_of_memory": str(error).splitlines()[0]}
    finally:
        evaluator.close()
    return found


def _of_roof(roof: Roof, work: Work, seconds: float) -> Record:
    """How much of a step the device would be busy if it did all at the rates of its roof."""
    return {
        "bytes_of_roof": work.bytes / roof.bytes_per_s / seconds,
        "flops_of_roof": work.flops / roof.flops_per_s / seconds,
    }
