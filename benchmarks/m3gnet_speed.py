"""Time and memory per atom of a published M3GNet on a rattled crystal, beside MatGL's.

    OMP_NUM_THREADS=1 python benchmarks/m3gnet_speed.py FOLDER [--matgl PYTHON] [--atoms 8 64 216 512 1000]

FOLDER is one potential of MatGL, PYTHON the interpreter of an environment with MatGL in it. Times are of the
processor, which a busy machine changes less than the clock, and steps of the two are taken in turn on the same
structures; only the ratio, the median over pairs of steps, means anything on another machine. A step finds
neighbours and gives energy, forces and stress in float32. "kB/atom" is the most that an evaluation keeps at one
time, tensor by tensor; the shares are those of the modules' values and derivatives.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from ase import Atoms
from ase.build import bulk
from m3gnet_converted import converted
from m3gnet_shares import KINDS, prepared, shares

from halocline.bench.structures import Motion, repeated
from halocline.graph import Structure
from halocline.memory.live_bytes import peak_bytes
from halocline.potential.potential import Potential
from halocline.program import energies_and_gradients

#: Steps before the clock counts.
WARM_UP = 2

Stepper = Callable[[Atoms], float]


def crystal(atoms: int) -> Atoms:
    """Magnesium oxide, 56 neighbours within 5 Å."""
    return repeated(bulk("MgO", "rocksalt", a=4.21, cubic=True), atoms)


@contextmanager
def matgl_stepper(python: str, folder: Path) -> Iterator[Stepper]:
    """Processor seconds of a step of MatGL, in a process of its own."""
    script = Path(__file__).with_name("m3gnet_matgl_steps.py")
    command = [python, str(script), str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **pipes) as process:

        def step(atoms: Atoms) -> float:
            arrays = {name: getattr(atoms, name).tolist() for name in ("numbers", "positions")}
            process.stdin.write(json.dumps(arrays | {"cell": atoms.cell.tolist()}) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith("seconds "):
                    return float(line.split()[1])
            raise SystemExit("MatGL's interpreter ended; run m3gnet_matgl_steps.py with it to see why.")

        yield step
        process.stdin.close()


def our_stepper(potential: Potential) -> Stepper:
    """Processor seconds of a step of ours."""
    evaluator = potential.evaluator("torch", "float32", "cpu", "none", "auto")

    def step(atoms: Atoms) -> float:
        started = time.process_time()
        potential.evaluate_with(evaluator, atoms)
        return time.process_time() - started

    return step


def alternate(steppers: list[Stepper], atoms: Atoms, steps: int) -> list[list[float]]:
    """Seconds of each stepper's steps along the same motion."""
    motion = Motion(atoms)
    rows = [[step(moved) for step in steppers] for moved in (motion.step() for _ in range(WARM_UP + steps))]
    return [list(column) for column in zip(*rows[WARM_UP:], strict=True)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--matgl", help="interpreter with MatGL")
    parser.add_argument("--atoms", type=int, nargs="+", default=[8, 64, 216, 512, 1000])
    parser.add_argument("--steps", type=int, default=7)
    arguments = parser.parse_args()
    potential = converted(arguments.folder)
    print("atoms   µs/atom/step  MatGL's / ours   kB/atom   " + "  ".join([*KINDS.values(), "rest"]))
    with ExitStack() as stack:
        theirs = [stack.enter_context(matgl_stepper(arguments.matgl, arguments.folder))] if arguments.matgl else []
        for size in arguments.atoms:
            atoms = crystal(size)
            ours, *others = alternate([our_stepper(potential), *theirs], atoms, arguments.steps)
            ratios = [median(b / a for a, b in zip(ours, other, strict=True)) for other in others]
            structure = Structure.from_atoms(atoms)
            program, inputs = prepared(potential.backbone, structure)
            kept = peak_bytes(lambda p=program, i=inputs: energies_and_gradients(p.backbone, i)) / len(atoms)
            parts = shares(potential.backbone, structure)
            ratio = f"{ratios[0]:.2f}" if ratios else "-"
            numbers = f"{len(atoms):5}  {1e6 * median(ours) / len(atoms):13.0f}  {ratio:>14}  {kept / 1000:8.0f}"
            print(numbers, *(f"{100 * part:8.0f} %" for part in parts.values()), flush=True)


if __name__ == "__main__":
    main()
