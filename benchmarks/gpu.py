"""Check every backbone, precision and backend on one GPU, then time steps; one JSON file for each stage.

    bash benchmarks/gpu.sh --output FOLDER [--device cuda] [--stages parity ...] [--limit 480]

Structures and weights are made here, from seeds; the water model is the one that ships. Results of the CPU in
float64 are the reference, which the parity matrix of the tests holds against NumPy. Each stage writes its file as
soon as it ends, and one that fails does not keep the next from running. `--device cpu --quick` runs the same on a
machine without a GPU, with fewer and smaller cases.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import read

import halocline
from halocline.bench.memory import peak_memory
from halocline.bench.structures import Motion, disordered_box
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.errors import HaloclineError
from halocline.evaluator.result import Result
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.spec import Spec
from halocline.testing import check_executor
from halocline.testing.hosts import HOSTS, Host
from halocline.testing.structures import Samples
from halocline.testing.tolerances import (
    ENERGY,
    FLOAT32_ENERGY,
    FLOAT32_FORCE,
    FLOAT32_FORCE_FLOOR,
    FORCE,
    VIRIAL,
)

BOX = Path(__file__).parents[1] / "examples" / "water.extxyz"
WATER = "water-revpbe0d3-schnet"
BACKBONES = ("schnet", "m3gnet", "lennard-jones")

#: Atoms/Å³ of the boxes that are timed: liquid water.
DENSITY = 0.1

#: Steps before the clock counts, and those that are timed; none begins after so many seconds.
WARM_UP, STEPS, SECONDS = 3, 20, 8.0

Record = dict[str, Any]


def potential(name: str) -> Potential:
    """A model by the name of a zoo or of a backbone, whose weights then follow from a seed."""
    if name not in BACKBONES:
        return halocline.load(name)
    backbone = build_backbone(name, registry().load("backbone", name).example_config(), seed=1)
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


def structures(model: str, of: Potential) -> dict[str, Atoms]:
    """What a model is evaluated on: every periodicity, one atom, and the water box."""
    if model == WATER:
        return {"water": read(BOX)}
    samples = Samples(of.backbone)
    return samples.all() | {"one atom": samples.atom}


def deviations(found: Result, expected: Result, dtype: str) -> Record:
    """Largest differences, and how much of the tolerance they use; above 1 is a failure."""
    energy = max(float(np.abs(expected.energies).sum()), float(len(expected.energies)))
    force, virial = (float(np.abs(values).max()) for values in (expected.forces, expected.virial))
    double = dtype == "float64"
    allowed = {
        "energies": (ENERGY if double else FLOAT32_ENERGY) * energy,
        "forces": FORCE * max(1.0, force) if double else FLOAT32_FORCE * force + FLOAT32_FORCE_FLOOR,
        "virial": (VIRIAL if double else FLOAT32_FORCE) * max(energy, virial),
    }
    record: Record = {}
    for name, most in allowed.items():
        difference = float(np.abs(getattr(found, name) - getattr(expected, name)).max())
        record[name] = {"difference": difference, "of_tolerance": difference / most}
    record["ok"] = all(record[name]["of_tolerance"] <= 1.0 for name in allowed)
    return record


class Checks:
    """The stages; each yields records as it goes.

    Args:
        device: ``cuda`` or ``cpu``.
        quick: fewer and smaller cases.
    """

    def __init__(self, device: str, *, quick: bool) -> None:
        self.device, self.quick = device, quick

    def backends(self) -> list[str]:
        """Executors with options that can be tried on the device."""
        onnx = registry().load("executor", "onnx").diagnose()
        named = ["torch"] if self.quick else ["torch", "torch:compile=inductor", "torch:compile=aot"]
        return (
            [*named, "onnx"] if onnx.usable and self.device in {d.split(":")[0] for d in onnx.devices} else named
        )

    def parity(self) -> Iterator[Record]:
        """Every model on eager PyTorch, in both precisions, beside the CPU in float64."""
        for model in (*BACKBONES, WATER):
            of = potential(model)
            for name, atoms in structures(model, of).items():
                expected = of(atoms, dtype="float64", device="cpu")
                for dtype in ("float32", "float64"):
                    found = of(atoms, dtype=dtype, device=self.device)
                    yield {"model": model, "structure": name, "dtype": dtype} | deviations(found, expected, dtype)

    def hosts(self) -> Iterator[Record]:
        """Whatever the host program does around a call, the numbers are the same to the bit."""
        atoms = read(BOX)
        for dtype in ("float32", "float64"):
            expected = halocline.load(WATER)(atoms, dtype=dtype, device=self.device)
            for name, enter in hosts(self.device).items():
                of = halocline.load(WATER)
                for where, context in (("inside", enter), ("outside, after", nullcontext)):
                    record = {"host": name, "dtype": dtype, "where": where}
                    try:
                        with context():
                            found = of(atoms, dtype=dtype, device=self.device)
                    except (HaloclineError, RuntimeError) as error:
                        yield record | {"ok": False, "error": str(error).splitlines()[0]}
                    else:
                        yield record | deviations(found, expected, dtype)

    def partitions(self) -> Iterator[Record]:
        """The water box in parts, and on one rank, which on a GPU opens NCCL."""
        of, atoms = potential(WATER), read(BOX)
        expected = of(atoms, dtype="float64", device="cpu")
        ways = [{"partition": "rcb:4"}, {"partition": "grid:3"}, {"partition": "rcb:4", "halo": "exchange"}]
        ways += [{"backend": "ddp:ranks=1"}, {"backend": "ddp:ranks=1", "partition": "rcb:3", "halo": "exchange"}]
        for way in ways:
            for dtype in ("float32", "float64"):
                calculator = of.calculator(dtype=dtype, device=self.device, **way)
                try:
                    found = of.evaluate_with(calculator._evaluator, atoms)
                finally:
                    calculator.close()
                yield way | {"dtype": dtype} | deviations(found, expected, dtype)

    def restarts(self) -> Iterator[Record]:
        """Dynamics in two parts beside dynamics in one; on GPUs, sums may come in another order each time."""
        of, atoms = potential(WATER), read(BOX)
        with tempfile.TemporaryDirectory() as folder:
            for dtype in ("float32", "float64"):
                settings = Settings(ensemble="nvt", timestep=0.5, frame_interval=5)
                ends = {}
                for name, stops in (("straight", (20,)), ("again", (20,)), ("in two parts", (10, 20))):
                    output = RunFiles(Path(folder, f"{name} {dtype}"))
                    for number, stop in enumerate(stops):
                        calculator = of.calculator(dtype=dtype, device=self.device)
                        run_dynamics(atoms, calculator, settings, output, steps=stop, resume=number > 0)
                    ends[name] = read(output.trajectory, index=-1).positions
                for name in ("again", "in two parts"):
                    difference = float(np.abs(ends[name] - ends["straight"]).max())
                    yield {
                        "dtype": dtype,
                        "run": name,
                        "largest_difference_A": difference,
                        "ok": difference < 1e-4,
                    }

    def conformance(self) -> Iterator[Record]:
        """The executor's conformance suite, compiled variants included."""
        for backend in self.backends():
            spec = Spec.parse(backend)
            for name in BACKBONES:
                if "compile" in backend and name == "m3gnet":
                    yield {"backend": backend, "backbone": name, "skipped": "compiles for minutes"}
                    continue
                executor = spec.build(registry().load("executor", spec.name), device=self.device)
                started = time.perf_counter()
                report = check_executor(executor, potential(name).backbone)
                for each in report.results:
                    record = {"backend": backend, "backbone": name, "check": each.check, "status": each.status}
                    yield record | {"message": each.message, "ok": each.status != "failed"}
                yield {"backend": backend, "backbone": name, "seconds": time.perf_counter() - started}

    def steps(self) -> Iterator[Record]:
        """µs per atom and step of dynamics, and bytes per atom, from a hundred atoms up to what fits."""
        sizes = (100, 1000) if self.quick else (100, 1_000, 10_000, 100_000)
        for model in (WATER, "m3gnet"):
            of = potential(model)
            for backend in ("torch",) if self.quick or model == "m3gnet" else ("torch", "torch:compile=inductor"):
                for dtype in ("float32", "float64"):
                    for atoms in sizes:
                        yield {"model": model, "backend": backend, "dtype": dtype} | self._time(
                            of, backend, dtype, disordered_box(of.species, atoms, DENSITY)
                        )

    def _time(self, of: Potential, backend: str, dtype: str, box: Atoms) -> Record:
        """One measurement; a lack of memory is a result."""
        evaluator, motion = of.evaluator(backend, dtype, self.device, "none", "auto"), Motion(box)
        cuda = self.device.startswith("cuda")
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        before, seconds = peak_memory(self.device), []
        try:
            for step in range(WARM_UP + STEPS):
                started = time.perf_counter()
                of.evaluate_with(evaluator, motion.step())
                if step >= WARM_UP:
                    seconds.append(time.perf_counter() - started)
                if sum(seconds) > SECONDS:
                    break
        except torch.OutOfMemoryError as error:
            return {"atoms": len(box), "out_of_memory": str(error).splitlines()[0]}
        return {
            "atoms": len(box),
            "us_per_atom": 1e6 * median(seconds) / len(box),
            "us_per_atom_all": [1e6 * each / len(box) for each in seconds],
            "bytes_per_atom": (peak_memory(self.device) - before) / len(box),
        }


def hosts(device: str) -> dict[str, Host]:
    """What a host program may have done: the hosts of the conformance suite, and on a GPU those that name it."""
    found: dict[str, Host] = {"nothing": nullcontext, **HOSTS}
    if device.startswith("cuda"):
        found["autocast on the GPU to bfloat16"] = partial(torch.autocast, "cuda", torch.bfloat16)
        found["autocast on the GPU to float16"] = partial(torch.autocast, "cuda", torch.float16)
        found["with torch.device('cuda')"] = partial(torch.device, "cuda")
    return found


def machine(device: str) -> Record:
    """What was measured on: enough to tell two measurements apart."""
    record = {
        "halocline": halocline.__version__,
        "sources": digest_of_sources(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
    }
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(0)
        record |= {"gpu": properties.name, "gpu_memory": properties.total_memory, "cuda": torch.version.cuda}
    return record


def digest_of_sources() -> str:
    """SHA-256 over all files of the package, by which a measurement is tied to what was measured."""
    package, digest = Path(halocline.__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    """Run the stages; the exit status tells whether all checks held."""
    stages = ("parity", "hosts", "partitions", "restarts", "steps", "conformance")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--stages", nargs="+", choices=stages, default=stages)
    parser.add_argument("--limit", type=float, default=480.0, help="seconds after which nothing new begins")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + arguments.limit
    checks, good = Checks(arguments.device, quick=arguments.quick), True
    for stage in arguments.stages:
        good &= run_stage(stage, getattr(checks, stage), arguments.output, machine(arguments.device), until)
    return 0 if good else 1


def run_stage(name: str, stage: Callable[[], Iterator[Record]], folder: Path, on: Record, until: float) -> bool:
    """Run one stage, write what it found, and say whether all of it was right."""
    records, failure, started = [], "", time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            for record in stage():
                records.append(record)
                if time.monotonic() > until:
                    failure = "The time was over; what follows was not run."
                    break
        except (HaloclineError, RuntimeError, AssertionError) as error:
            failure = "".join(traceback.format_exception(error))
    good = not failure and all(record.get("ok", True) for record in records)
    document = {
        "machine": on,
        "stage": name,
        "seconds": round(time.monotonic() - started, 1),
        "good": good,
        "failure": failure,
        "warnings": sorted({str(each.message) for each in caught}),
        "records": records,
    }
    Path(folder, f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    wrong = [record for record in records if not record.get("ok", True)]
    sys.stdout.write(f"{name}: {len(records)} records, {len(wrong)} wrong, {document['seconds']} s. {failure}\n")
    for record in wrong[:20]:
        sys.stdout.write(f"  {json.dumps(record)}\n")
    return good


if __name__ == "__main__":
    sys.exit(main())
