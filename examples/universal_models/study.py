"""What is a short fit to a few frames worth to each universal model of the zoo?

    HALOCLINE_TEST_DATA=FOLDER python study.py silicon -o FOLDER [--models NAME NAME:prune=2 NAME:head=PBE …]

Draws frames of silicon, or of small cells of Li, Mn and O, writes them as the files of silicon.toml or of
lithium.toml, and fits every model to them with ``halocline train``, on one thread. Before are the errors of what a
fit begins with: the model, pruned if it is to be, with the energies of elements shifted to the training frames.
Fits that are done are not made again. Writes results.json and results.md into the folder.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read, write

HERE = Path(__file__).parent

#: What is fitted to which frames, and what differs from the recipe: keys of its tables ``model`` and ``training``.
MODELS = {
    "lithium": (
        "m3gnet-mp-2021",
        "tensornet-matpes-pbe",
        "chgnet-0.3.0",
        "7net-0",
        "7net-0:prune=3",
        "nequix-mp-1",
    ),
    # Rates and epochs are those that were run: quick models take more steps in the same time.
    "silicon": (
        "m3gnet-mp-2021:learning_rate=1e-3,epochs=2",
        "m3gnet-matpes-pbe:learning_rate=1e-3,epochs=2",
        "tensornet-matpes-pbe:learning_rate=5e-4,epochs=2",
        "tensornet-matpes-pbe:learning_rate=1e-4,epochs=2,warmup_steps=5",
        "chgnet-0.3.0:learning_rate=3e-4,epochs=2",
        "7net-0:learning_rate=2e-4,epochs=2",
        "7net-mf-0:head=PBE,learning_rate=2e-4,epochs=1,warmup_steps=5",
        "7net-l3i5:learning_rate=1e-4,epochs=1,warmup_steps=5",
        "nequix-mp-1:learning_rate=1e-4,epochs=4,energy_weight=10.0",
        # To their ends, whole and pruned.
        "7net-0:learning_rate=2e-4,epochs=12",
        "7net-0:prune=4,learning_rate=2e-4,epochs=12",
        "7net-0:prune=3,learning_rate=2e-4,epochs=12",
    ),
}

#: How many frames serve what; all others are left out.
SETS = {
    "lithium": {"train": 20, "validation": 4, "test": 16},
    "silicon": {"train": 24, "validation": 5},
}

#: Atoms of the largest cell of Li, Mn and O, and of the smallest of silicon.
LARGEST, SMALLEST = 16, 24


def main() -> None:
    """Fit what is not fitted yet, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=MODELS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+")
    arguments = parser.parse_args()
    arguments.output.mkdir(exist_ok=True)
    frames_of = {"lithium": lithium, "silicon": silicon}[arguments.study]
    for name, frames in frames_of(Path(os.environ["HALOCLINE_TEST_DATA"]), SETS[arguments.study]).items():
        write(arguments.output / f"{name}.extxyz", frames)
    models = arguments.models or MODELS[arguments.study]
    rows = [fitted(model, HERE / f"{arguments.study}.toml", arguments.output) for model in models]
    (arguments.output / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    (arguments.output / "results.md").write_text(table(rows))


def lithium(data: Path, sizes: dict[str, int]) -> dict[str, list[Atoms]]:
    """Frames of each set; files share structures, turned or renumbered, which have equal energies."""
    several = [
        read(data / "li_electrode" / f"Li_electrode_{name}.xyz", ":") for name in ("finetune", "val", "test")
    ]
    small = [atoms for frames in several for atoms in frames if len(atoms) <= LARGEST]
    once = {(str(atoms.symbols.formula), energy(atoms)): atoms for atoms in small}
    return drawn(list(once.values()), sizes)


def silicon(data: Path, sizes: dict[str, int]) -> dict[str, list[Atoms]]:
    """Frames of each set; the test file is taken whole, and what is in it is in no other set."""
    train, test = (read(data / "mlearn_Si" / f"Si_{name}.xyz", ":") for name in ("train", "test"))
    seen = set(map(energy, test))
    once = {energy(atoms): atoms for atoms in train if len(atoms) >= SMALLEST and energy(atoms) not in seen}
    return drawn(list(once.values()), sizes) | {"test": test}


def energy(atoms: Atoms) -> float:
    """The label, eV, by which frames that are in the data twice are known."""
    return round(atoms.get_potential_energy(), 3)


def drawn(frames: list[Atoms], sizes: dict[str, int]) -> dict[str, list[Atoms]]:
    """Frames for each set, from a seed."""
    random.Random(0).shuffle(frames)
    return {name: [frames.pop() for _ in range(size)] for name, size in sizes.items()}


def fitted(model: str, template: Path, folder: Path) -> dict[str, Any]:
    """Errors before and after the fit of a model, and what it took."""
    name, _, change = model.partition(":")
    run = folder / re.sub(r"[:=,]", "-", model)
    result, recipe = (folder / f"{run.name}.{ending}" for ending in ("json", "toml"))
    if not result.exists():
        recipe.write_text(changed(template.read_text(), name, change))
        before = start_errors(recipe)
        command = ["train", str(recipe), "-o", str(run), "--json", "--threads", "1", *["--resume"] * run.exists()]
        spent = seconds()
        said = subprocess.run(
            [sys.executable, "-m", "halocline", *command], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        row = {"model": name, "change": change, "before": before, "after": json.loads(said)["test"]}
        epochs = list(csv.DictReader((run / "metrics.csv").open()))
        row["validation_forces_mae"] = [float(epoch["forces_mae"]) for epoch in epochs]
        result.write_text(json.dumps(row | {"processor_seconds": round(seconds() - spent)}))
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def changed(text: str, name: str, change: str) -> str:
    """A recipe with another model in it, and other values of some of its keys."""
    more = [f"from = {json.dumps(name)}"]
    for key, value in (each.split("=") for each in change.split(",") if change):
        said = f"{key} = {value if value[0].isdigit() else json.dumps(value)}"
        text, known = re.subn(rf"(?m)^{key} = .*$", said, text)
        more += [said] * (not known)
    return re.sub(r"(?m)^from = .*$", "\n".join(more), text)


def start_errors(recipe: Path) -> dict[str, Any]:
    """Errors on the test frames of the model that a fit begins with."""
    from halocline.potential.potential import Potential
    from halocline.training.problem import prepare
    from halocline.training.recipe import read_recipe
    from halocline.training.result import frame_errors

    problem = prepare(read_recipe(recipe), recipe.parent)
    potential = Potential(problem.backbone, problem.reference_energies, {})
    return asdict(frame_errors(potential, problem, problem.split.test, "cpu"))


def seconds() -> float:
    """Processor time of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each model."""
    heads = ["model", "energy before, meV/atom", "after", "forces before, meV/Å", "after", "processor time, s"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        errors = [
            f"{row[when][f'{what}_mae']:.1f}" for what in ("energy", "forces") for when in ("before", "after")
        ]
        title = f"`{row['model']}`" + f", {row['change']}" * bool(row["change"])
        lines.append(f"| {' | '.join([title, *errors, str(row['processor_seconds'])])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
