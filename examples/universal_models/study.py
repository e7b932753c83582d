"""What is a short fit to a few frames worth to each universal model of the zoo?

    HALOCLINE_TEST_DATA=FOLDER python study.py -o FOLDER [--models NAME NAME:prune=2 NAME:head=PBE …]

Draws frames of small cells of Li, Mn and O, writes them as the files of lithium.toml, and fits every model to them
with ``halocline train``, on one thread. Before are the errors of what a fit begins with: the model, pruned if it
is to be, with the energies of elements shifted to the training frames. Fits that are done are not made again.
Writes results.json and results.md into the folder.
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

from ase.io import read, write

HERE = Path(__file__).parent

MODELS = (
    "m3gnet-mp-2021",
    "tensornet-matpes-pbe",
    "chgnet-0.3.0",
    "7net-0",
    "7net-0:prune=3",
    "nequix-mp-1",
)

#: Atoms of the largest cell, and how many frames serve what; all others are left out.
LARGEST = 16
SETS = {"train": 20, "validation": 4, "test": 16}


def main() -> None:
    """Fit what is not fitted yet, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=MODELS)
    arguments = parser.parse_args()
    arguments.output.mkdir(exist_ok=True)
    draw(Path(os.environ["HALOCLINE_TEST_DATA"]) / "li_electrode", arguments.output)
    rows = [fitted(model, arguments.output) for model in arguments.models]
    (arguments.output / "results.json").write_text(json.dumps(rows, indent=1) + "\n")
    (arguments.output / "results.md").write_text(table(rows))


def draw(source: Path, folder: Path) -> None:
    """Write the frames of each set; files share structures, turned or renumbered, which have equal energies."""
    several = [read(source / f"Li_electrode_{name}.xyz", ":") for name in ("finetune", "val", "test")]
    small = [atoms for frames in several for atoms in frames if len(atoms) <= LARGEST]
    once = {(str(atoms.symbols.formula), round(atoms.get_potential_energy(), 3)): atoms for atoms in small}
    drawn = list(once.values())
    random.Random(0).shuffle(drawn)
    for name, size in SETS.items():
        write(folder / f"{name}.extxyz", [drawn.pop() for _ in range(size)])


def fitted(model: str, folder: Path) -> dict[str, Any]:
    """Errors before and after the fit of a model, and what it took."""
    name, _, change = model.partition(":")
    run = folder / re.sub(r"[:=]", "-", model)
    result, recipe = (folder / f"{run.name}.{ending}" for ending in ("json", "toml"))
    if not result.exists():
        key, _, value = change.partition("=")
        more = f"\n{key} = {value if value.isdigit() else json.dumps(value)}" if change else ""
        text = (HERE / "lithium.toml").read_text()
        recipe.write_text(re.sub(r"(?m)^from = .*$", f"from = {json.dumps(name)}{more}", text))
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
