"""Prune a fitted ORB to every depth and fit it once more: errors before and after.

python start.py conservative conservative.safetensors
python depths.py conservative.toml -o depths.json [--epochs 8] [--energies-of-atoms 2]

The start of the recipe is fitted whole. What that gives is pruned to each depth, measured, fitted to the same
frames for some epochs more, whole as well, and measured again, always on the frames that nobody has looked at.
Depths that are named get energies of atoms in the place of one of the mean.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import halocline
from halocline.potential.potential import Potential
from halocline.training.device import make_fabric
from halocline.training.errors import Errors
from halocline.training.problem import Problem, prepare
from halocline.training.recipe import read_recipe
from halocline.training.result import finish, frame_errors
from halocline.training.run import TrainingRun


def main() -> None:
    """Fit, prune and fit again, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8, help="of each depth")
    parser.add_argument("--energies-of-atoms", type=int, nargs="*", default=(), metavar="DEPTH")
    arguments = parser.parse_args()
    folder = arguments.recipe.parent
    text = re.sub(r"(?m)^prune = .*\n", "", arguments.recipe.read_text())
    whole = folder / "whole.safetensors"
    if not whole.exists():
        fitted(problem_of(folder, "whole", text), folder)[0].save(whole)
    text = re.sub(r"(?m)^from = .*$", f'from = "{whole.name}"', text)
    text = re.sub(r"(?m)^epochs = .*$", f"epochs = {arguments.epochs}", text)
    depths = range(1, len(halocline.load(whole).backbone.layers) + 1)
    found: list[dict[str, Any]] = []
    for depth, more in [(depth, "") for depth in depths] + [
        (depth, "energies_of_atoms = true\n") for depth in arguments.energies_of_atoms
    ]:
        name = f"depth-{depth}-{'atoms' if more else 'mean'}"
        model = f"[model]\nprune = {depth}\n{more}"
        problem = problem_of(folder, name, text.replace("[model]\n", model))
        before = frame_errors(
            Potential(problem.backbone, problem.reference_energies, {}), problem, problem.split.test, "cpu"
        )
        after = fitted(problem, folder / name)[1]
        found.append({"layers": depth, "energy": "atoms" if more else "mean", "frames": len(problem.split.test)})
        found[-1] |= {"before": told(before), "after": told(after)}
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")


def problem_of(folder: Path, name: str, text: str) -> Problem:
    """What a recipe describes, which is kept under a name."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    return prepare(read_recipe(path), folder)


def fitted(problem: Problem, folder: Path) -> tuple[Potential, Errors]:
    """The model after the last epoch, and its errors."""
    run = TrainingRun(problem, folder / "run", make_fabric("cpu", problem.recipe.training.precision), resume=False)
    run.train(lambda record: None)
    potential, errors = finish(run, "cpu")
    assert errors is not None  # the recipe has test frames
    return potential, errors


def told(errors: Errors) -> dict[str, float | None]:
    """Mean absolute errors: meV per atom, meV/Å and meV/Å³."""
    return {name: getattr(errors, f"{name}_mae") for name in ("energy", "forces", "stress")}


if __name__ == "__main__":
    main()
