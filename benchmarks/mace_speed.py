"""Time and memory per atom of MACE beside mace-torch's, and what pruning leaves of it.

    OMP_NUM_THREADS=1 python benchmarks/mace_speed.py --mace PYTHON [--channels 32 64 128] [--degrees 0 1]

PYTHON is the interpreter of an environment with mace-torch in it. It makes models of the sizes of the foundation
models with random weights; each is read from its file, so that both evaluate the same. Times are of the processor,
which a busy machine changes less than the clock, and steps of the two and of the pruned model are taken in turn
on the same structures: only their ratios, medians over steps, mean anything on another machine. A step finds
neighbours and gives energy, forces and stress in float32. "kB/atom" is the most that an evaluation keeps at one
time, tensor by tensor.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from ase import Atoms
from ase.build import bulk

from halocline.bench.structures import Motion, repeated
from halocline.memory.live_bytes import peak_bytes
from halocline.model.pruner import pruned
from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.potential.potential import Potential
from halocline.zoo.foreign import read_mace

#: Steps before the clock counts; the package compiles in the first ones.
WARM_UP = 3

#: Å; 56 neighbours in the crystal.
CUTOFF = 5.0

#: Of the energy: what two programs in float32 may differ by.
AGREEMENT = 1e-4

Elements = tuple[int, ...]
Stepper = Callable[[Atoms], tuple[float, float]]

FEW: Elements = (1, 8)
MANY: Elements = (1, 3, 6, 7, 8, 9, 11, 14, 16, 17)


def crystal(atoms: int, elements: Elements) -> Atoms:
    """Magnesium oxide's lattice with random elements on it."""
    found = repeated(bulk("MgO", "rocksalt", a=4.21, cubic=True), atoms)
    found.numbers = np.random.default_rng(0).choice(elements, len(found))
    return found


@contextmanager
def mace_torch(python: str, file: Path, *, channels: int, degree: int, elements: Elements) -> Iterator[Stepper]:
    """Processor seconds and energy of a step of mace-torch, in a process of its own, which writes its model."""
    asked = {"file": str(file), "channels": channels, "degree": degree, "elements": elements}
    script = Path(__file__).with_name("mace_torch_steps.py")
    command = [python, str(script), json.dumps(asked | {"layers": 2, "cutoff": CUTOFF})]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **pipes) as process:

        def step(atoms: Atoms) -> tuple[float, float]:
            arrays = {name: getattr(atoms, name).tolist() for name in ("numbers", "positions")}
            process.stdin.write(json.dumps(arrays | {"cell": atoms.cell.tolist()}) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith("seconds "):
                    return tuple(map(float, line.split()[1:]))
            raise SystemExit("mace-torch's interpreter ended; run mace_torch_steps.py with it to see why.")

        yield step
        process.stdin.close()


def stepper(potential: Potential) -> Stepper:
    """Processor seconds and energy of a step of ours."""
    evaluator = potential.evaluator("torch", "float32", "cpu", "none", "auto")

    def step(atoms: Atoms) -> tuple[float, float]:
        started = time.process_time()
        result = potential.evaluate_with(evaluator, atoms)
        return time.process_time() - started, result.energy

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mace", required=True, help="interpreter with mace-torch")
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--degrees", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--atoms", type=int, nargs="+", default=[64])
    parser.add_argument("--elements", type=int, nargs="+", choices=[len(FEW), len(MANY)], default=[len(FEW)])
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    print("channels  L  elements  atoms   µs/atom/step  mace-torch's / ours  pruned / whole  kB/atom  pruned")
    for elements in (each for each in (FEW, MANY) if len(each) in arguments.elements):
        for channels in arguments.channels:
            for degree in arguments.degrees:
                compare(arguments, channels, degree, elements)


def compare(arguments: argparse.Namespace, channels: int, degree: int, elements: Elements) -> None:
    """One model, on every size of the crystal."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "random.model"
        with mace_torch(arguments.mace, file, channels=channels, degree=degree, elements=elements) as theirs:
            theirs(crystal(8, elements))  # from here on the file is there
            foreign = read_mace(file)
            whole = build_potential(registry().load("converter", foreign.dialect)(foreign.config, foreign.tensors))
            shallow = Potential(pruned(whole.backbone, 1), whole.reference_energies, whole.card)
            steppers = [stepper(whole), theirs, stepper(shallow)]
            for size in arguments.atoms:
                report(
                    steppers,
                    crystal(size, elements),
                    arguments.steps,
                    f"{channels:8} {degree:2} {len(elements):9}",
                )


def report(steppers: list[Stepper], atoms: Atoms, steps: int, what: str) -> None:
    """Take steps in turn along the same motion; print medians."""
    motion = Motion(atoms)
    rows = [[step(moved) for step in steppers] for moved in (motion.step() for _ in range(WARM_UP + steps))]
    for (_, ours), (_, theirs), _ in rows:
        if abs(ours - theirs) > AGREEMENT * max(1.0, abs(theirs)):
            raise SystemExit(f"The two do not evaluate the same model: {ours} eV and {theirs} eV.")
    seconds = [[each for each, _ in row] for row in rows[WARM_UP:]]
    count = len(atoms)
    ratio = median(theirs / ours for ours, theirs, _ in seconds)
    left = median(shallow / ours for ours, _, shallow in seconds)
    kept = [
        peak_bytes(lambda step=step: step(motion.step())) / count / 1000 for step in (steppers[0], steppers[2])
    ]
    own = 1e6 * median(ours for ours, *_ in seconds) / count
    print(f"{what} {count:6} {own:14.0f} {ratio:20.2f} {left:15.2f} {kept[0]:8.0f} {kept[1]:7.0f}", flush=True)


if __name__ == "__main__":
    main()
