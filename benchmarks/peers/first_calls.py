"""What the first call of a process takes: with an empty cache, where code is compiled, and with what that left.

    python -m peers.first_calls --output FILE [--models schnet mace-L0 ...] [--repeats 3]

Each model, as it is, with tables made, and with tables that its file carries, begins with a cache folder of its
own that is empty: the first process is cold, and `--repeats` more are warm. A first call is from the model in
memory to energy, forces and stress of 216 atoms of silicon, on one thread: tables, code, checks of both,
neighbours and the evaluation. Imports and the reading of files are beside it. Seconds are of the clock, so the
machine has to be quiet; CPU time, with that of compilers, is there as well. The exit status says whether a call
took longer than it may.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ase.io import write
from matrix.record import measured_on

from halocline.files import write_atomically
from halocline.model.build import build_backbone
from halocline.potential.compress import compressed
from halocline.potential.potential import Potential
from peers import structures
from peers.growth import CHANNELS, Point, potential

#: Models, those of M3GNet in the sizes of the published ones.
MODELS: Final = (*CHANNELS, "m3gnet")

ATOMS: Final = 216

#: As it is; tables made by the call; tables that the file carries.
WAYS: Final = ("exact", "compress", "compressed file")

#: Seconds that a first call may take.
LIMITS: Final = {"cold": 20.0, "warm": 2.0}

_CALL: Final = """
import json, os, sys, time
began = time.perf_counter()
spent = lambda: sum(os.times()[:4])
import halocline
from ase.io import read
atoms = read(sys.argv[2])
imported = time.perf_counter()
potential = halocline.load(sys.argv[1])
loaded, before = time.perf_counter(), spent()
atoms.calc = potential.calculator(device="cpu", compress=sys.argv[3] == "True")
ends, cpu = [loaded], [before]
for _ in range(2):
    atoms.rattle(1e-3, rng=None, seed=len(ends))
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    ends.append(time.perf_counter())
    cpu.append(spent())
kernels = {each.kernel: each.version for each in atoms.calc.replaced}
print(json.dumps({"imports": imported - began, "load": loaded - imported, "first": ends[1] - ends[0],
                  "first_cpu": cpu[1] - cpu[0], "second": ends[2] - ends[1], "kernels": kernels}))
"""


def main(given: Sequence[str] | None = None) -> int:
    """Measure, and write the file after each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON file")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--repeats", type=int, default=3, help="of warm processes [%(default)s]")
    arguments = parser.parse_args(given)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = measured_on("cpu", "peers") | {"atoms": ATOMS, "limits": LIMITS, "calls": []}
    for model in arguments.models:
        for way in WAYS if model in CHANNELS else WAYS[:1]:
            found = {"model": model, "way": way, "load_average": os.getloadavg()[0]}
            found |= measured(model, way, arguments.repeats)
            print(json.dumps(found), flush=True)
            document["calls"].append(found)
            write_atomically(arguments.output, (json.dumps(document, indent=1) + "\n").encode())
    return int(not all(each["within"] for each in document["calls"]))


def measured(model: str, way: str, repeats: int) -> dict[str, Any]:
    """First calls of one model: the cold one, and the warm ones; and what was compiled."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = _model(model)
        (compressed(made) if way == "compressed file" else made).save(folder / "model.safetensors")
        write(folder / "structure.extxyz", structures.structure("silicon", ATOMS))
        cold, *warm = (_call(folder, compress=way == "compress") for _ in range(1 + repeats))
        libraries = len(list((folder / "cache").rglob("*.so")))
    within = cold["first"] <= LIMITS["cold"] and all(each["first"] <= LIMITS["warm"] for each in warm)
    return {"cold": cold, "warm": warm, "libraries": libraries, "within": within}


def _call(folder: Path, *, compress: bool) -> dict[str, Any]:
    files = [str(folder / name) for name in ("model.safetensors", "structure.extxyz")]
    environment = os.environ | {"HALOCLINE_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _CALL, *files, str(compress)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _model(name: str) -> Potential:
    if name in CHANNELS:
        return potential(Point(name, "atoms", ATOMS))
    return Potential(build_backbone("m3gnet", {"species": ["Si"]}), {"Si": 0.0}, {"name": name})


if __name__ == "__main__":
    sys.exit(main())
