"""What of a step of dynamics is neither the network nor the search for neighbours, in CPU time.

    python benchmarks/step_rest.py --molecules 1 64 --steps 400 --tree before/.editable --tree after/.editable

A run as ``halocline md`` makes it by default (nvt, Langevin, 300 K, 0.5 fs, log, trajectory and checkpoints), in
Python, with the calls of the program and of the search timed. Each source tree runs in processes of its own, in
turns; the first steps of each run do not count. Prints JSON: of every run the median of its steps, in ms.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Steps that do not count: compiled code takes over after 50 cuts of a neighbour list.
WARM = 60


def main() -> None:
    """Measure, or run the steps of one process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", type=int, nargs="+", default=[1], help="of water, in each structure")
    parser.add_argument("--model", default="water-revpbe0d3-schnet")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--tree", type=Path, action="append", help="a directory with the package; may be repeated")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_steps(options.molecules[0], options.model, options.steps, compress=options.compress)))
        return
    trees = options.tree or [Path(next(path for path in sys.path if (Path(path) / "halocline").is_dir()))]
    found: dict[str, Any] = {}
    for molecules in options.molecules:
        for _ in range(options.turns):
            for tree in trees:
                run = _in_process(tree.resolve(), molecules, options)
                found.setdefault(str(molecules), {}).setdefault(str(tree), []).append(run)
    print(json.dumps(found, indent=1))


def _in_process(tree: Path, molecules: int, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", "--molecules", str(molecules), "--model", options.model]
    command += ["--steps", str(options.steps), *(["--compress"] if options.compress else [])]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _steps(molecules: int, model: str, steps: int, *, compress: bool) -> dict[str, Any]:
    """Run so many steps, and tell what they took."""
    import halocline
    from halocline.dynamics import RunFiles, Settings, run_dynamics
    from halocline.graph import NeighbourList

    calculator = halocline.load(model).calculator(compress=compress)
    atoms = _water(molecules)
    network, searches = _Timed(), _Timed()
    NeighbourList._search = searches.around(NeighbourList._search)  # type: ignore[method-assign]
    rest: list[float] = []
    programs: list[float] = []
    last = [0.0, 0.0]

    def on_step(sample: Any) -> None:
        del sample
        now, inside = time.process_time(), network.seconds + searches.seconds
        rest.append(now - last[0] - (inside - last[1]))
        programs.append(network.last)
        last[:] = now, inside

    from halocline.backends.torch.executor import EagerSession

    EagerSession.__call__ = network.around(EagerSession.__call__)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        files = RunFiles(Path(folder) / "run")
        run_dynamics(atoms, calculator, Settings(), files, steps=steps + WARM, on_step=on_step)
    rest_ms, network_ms = (1e3 * statistics.median(each[WARM:]) for each in (rest, programs))
    load = os.getloadavg()[0]
    return {"atoms": len(atoms), "cpu_ms": round(rest_ms, 4), "network_cpu_ms": round(network_ms, 3), "load": load}


class _Timed:
    """CPU seconds within some calls."""

    def __init__(self) -> None:
        self.seconds = self.last = 0.0

    def around(self, function: Any) -> Any:
        """The function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.last = time.process_time() - begun
                self.seconds += self.last

        return timed


def _water(molecules: int) -> Any:
    """The example's water, or the first molecule of it alone; other sizes are cut out of it or made of copies."""
    from ase.io import read

    atoms = read(Path(__file__).parent.parent / "examples" / "water.extxyz")
    if molecules == 1:
        atoms = atoms[:3]
        atoms.pbc = False
        return atoms
    copies = round((molecules / 64) ** (1 / 3))
    if copies**3 * 64 != molecules:
        raise SystemExit("The number of molecules is 1, or 64 times a cube.")
    return atoms.repeat(copies)


if __name__ == "__main__":
    main()
