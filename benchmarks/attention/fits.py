"""Fits of equal processor time to a molecule at 300 K, errors and drift; then one is pruned and fitted again.

    PYTHONPATH=benchmarks OMP_NUM_THREADS=1 python -m attention.fits BOTNET_3BPA RUNS -o RESULT.json

BOTNET_3BPA is the folder of 3BPA's published frames (train_300K.xyz, train_mixedT.xyz). Each model is fitted by
``halocline train`` for as many epochs as take about as long. RUNS keeps what is done, and the same command goes on
from there.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import read, write
from matrix.record import measured_on
from nve_drift import total_energies

import halocline
from attention.models import MODELS, config_of, parameters
from halocline.potential.potential import Potential

#: Frames: fitted, unseen at the same temperature, fitted at others, unseen there.
FITTED, UNSEEN, HOT, HOT_UNSEEN = 300, 100, 60, 100

#: Neighbours that EScAIP keeps; 26 is all that an atom of the molecule can have.
KEPT, LISTED = 20, 26

#: ps of dynamics at constant energy, steps before, and fs of each.
PICOSECONDS, EQUILIBRATION = 0.25, 100

#: Epochs of the fits that follow the pruning.
TUNING_EPOCHS = 15

RECIPE = """\
[data]
train_files = [{train}]
test_files = [{test}]

[model]
{model}
[training]
epochs = {epochs}
batch_size = 4
learning_rate = {rate}
warmup_steps = 40
final_fraction = 0.01
energy_weight = 100.0
forces_loss = "norms"
forces_weight = 1.0
ema_decay = 0.98
seed = 0
"""


class Runs:
    """A folder of fits and of what was found of them, each made once.

    Args:
        folder: of the runs.
        source: of 3BPA's frames.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.file("hot-unseen").exists():
            self._split(source)

    def file(self, name: str) -> Path:
        """Of frames."""
        return self.folder / f"{name}.extxyz"

    def _split(self, source: Path) -> None:
        """At random; of the frames at other temperatures none that is among those at 300 K."""
        rng = np.random.default_rng(0)
        cool, mixed = (read(source / name, ":") for name in ("train_300K.xyz", "train_mixedT.xyz"))
        seen = np.array([frame.positions for frame in cool])
        mixed = [frame for frame in mixed if np.abs(seen - frame.positions).max((1, 2)).min() > 1e-4]
        order, hot = rng.permutation(len(cool)), rng.permutation(len(mixed))
        parts = {
            "fitted": (cool, order[:FITTED]),
            "unseen": (cool, order[FITTED : FITTED + UNSEEN]),
            "hot": (mixed, hot[:HOT]),
            "hot-unseen": (mixed, hot[HOT : HOT + HOT_UNSEEN]),
        }
        for name, (frames, which) in parts.items():
            write(self.file(name), [frames[number] for number in which])

    def once(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What some work finds, or found."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            print(name, flush=True)
            path.write_text(json.dumps(work(), indent=1) + "\n")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def fit(self, name: str, model: str, rate: float, epochs: int, sets: tuple[str, str]) -> dict[str, Any]:
        """Fit, and say what it took: seconds of the processor, of the whole command."""

        def work() -> dict[str, Any]:
            train, test = (json.dumps(str(self.file(each))) for each in sets)
            recipe = self.folder / f"{name}.toml"
            recipe.write_text(RECIPE.format(train=train, test=test, model=model, epochs=epochs, rate=rate))
            command = [sys.executable, "-m", "halocline", "train", str(recipe), "-o", str(self.folder / name)]
            command += ["--threads", "1", "--json", *["--resume"] * (self.folder / name).exists()]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            return {"epochs": epochs, "seconds": taken, "learning_rate": rate}

        return self.once(name, work)

    def model(self, name: str) -> Path:
        """Of a fit."""
        return self.folder / name / "model.safetensors"


def main() -> None:
    """Fit what is not fitted yet, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = Runs(arguments.runs, arguments.source)
    for document in parts(runs):
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")


def parts(runs: Runs) -> Iterator[dict[str, Any]]:
    """What is known, after each part that was found out."""
    document: dict[str, Any] = {
        "measured": measured_on("cpu", "attention"),
        "data": "3BPA, wB97X/6-31G(d)",
        "frames": {"fitted": FITTED, "unseen": UNSEEN, "hot": HOT, "hot_unseen": HOT_UNSEEN},
        "fits": {},
        "drift": {},
    }
    for name in MODELS:
        document["fits"][name] = fitted(runs, name)
        yield document
    document["pruned"] = tuned(runs)
    yield document
    for name in (name for name, compared in MODELS.items() if compared.conserves):
        document["drift"][name] = runs.once(f"drift-{name}", lambda name=name: drift(runs, name))
        yield document


def fitted(runs: Runs, name: str) -> dict[str, Any]:
    """Of one model: the fit, and its errors on frames that it has not seen."""
    compared = MODELS[name]
    found = runs.fit(name, described(name), compared.learning_rate, compared.epochs, ("fitted", "unseen"))
    return found | runs.once(f"errors-{name}", lambda: errors(runs.model(name), runs.file("unseen")))


def described(name: str) -> str:
    """A model as recipes have it."""
    config = config_of(name, KEPT, listed=LISTED)
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items())
    return f'backbone = "{MODELS[name].backbone}"\n\n[model.config]\n{lines}'


def errors(model: Path | Potential, file: Path) -> dict[str, Any]:
    """Mean absolute ones, also of energies less their mean; and milliseconds of the processor for an atom."""
    potential = model if isinstance(model, Potential) else halocline.load(model)
    frames: list[Atoms] = read(file, ":")
    potential(frames[0], dtype="float32", device="cpu")
    started = time.process_time()
    results = [potential(frame, dtype="float32", device="cpu") for frame in frames]
    atoms = sum(map(len, frames))
    taken = time.process_time() - started
    off = np.array(
        [
            (found.energy - frame.get_potential_energy()) / len(frame)
            for found, frame in zip(results, frames, strict=True)
        ]
    )
    forces = [found.forces - frame.get_forces() for found, frame in zip(results, frames, strict=True)]
    return {
        "parameters": parameters(potential.backbone),
        "energy_mae_meV_per_atom": 1e3 * float(np.abs(off).mean()),
        "energy_mae_less_mean_meV_per_atom": 1e3 * float(np.abs(off - off.mean()).mean()),
        "forces_mae_meV_per_A": 1e3 * float(np.abs(np.concatenate(forces)).mean()),
        "ms_per_atom": 1e3 * taken / atoms,
    }


def drift(runs: Runs, name: str) -> dict[str, Any]:
    """Of a run at constant energy: slope and fluctuation of the total energy; or where it came apart."""
    start = runs.file("unseen")
    times, total, kinetic = total_energies(
        str(runs.model(name)), "float32", PICOSECONDS, structure=start, equilibration=EQUILIBRATION
    )
    if not np.isfinite(total).all():
        return {"came_apart_after_ps": float(times[~np.isfinite(total)][0])}
    slope, offset = np.polyfit(times, total, 1)
    return {
        "picoseconds": float(times[-1]),
        "slope_meV_per_atom_ps": float(slope),
        "fluctuation_meV_per_atom": float(np.std(total - slope * times - offset)),
        "kinetic_fluctuation_meV_per_atom": float(np.std(kinetic)),
        "mean_kinetic_meV_per_atom": float(kinetic.mean()),
    }


def tuned(runs: Runs) -> dict[str, Any]:
    """The fitted EScAIP cut to one layer and fitted to hotter frames."""
    unseen, parent = runs.file("hot-unseen"), runs.model("escaip")
    shorter = f"from = {json.dumps(str(parent))}\nprune = 1\n"
    fit = runs.fit("hot", shorter, MODELS["escaip"].learning_rate, TUNING_EPOCHS, ("hot", "hot-unseen"))
    return {
        "whole": runs.once("hot-whole", lambda: errors(parent, unseen)),
        "cut": runs.once("hot-cut", lambda: errors(halocline.load(parent, prune=1), unseen)),
        "cut and fitted": fit | runs.once("errors-hot", lambda: errors(runs.model("hot"), unseen)),
    }


if __name__ == "__main__":
    main()
