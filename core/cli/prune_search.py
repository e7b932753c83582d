"""The search of ``halocline prune``: what it says on its way, and what it leaves in its folder."""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from halocline.cli.output import emit, emit_json, say
from halocline.cli.tables import table
from halocline.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from halocline.training.pruning.search import Outcome
    from halocline.training.run import EpochRecord

#: Files of a search beside the folders of its candidates.
CURVE_FILE: Final = "curve.json"
PLOT_FILE: Final = "curve.png"
CHOSEN_FILE: Final = "pruned.safetensors"

#: Where to fit unless --device says so.
_DEVICE: Final = "auto"


def search(arguments: argparse.Namespace) -> int:
    """Fit one model of each size, and choose the cheapest within the budgets.

    Raises:
        HaloclineError: an option, the recipe or its data are no good, a fit had to stop, or nothing is within the
            budgets.
    """
    import torch

    from halocline.errors import within
    from halocline.training.device import make_fabric
    from halocline.training.folder import claimed
    from halocline.training.pruning.budget import Budget
    from halocline.training.pruning.search import Search
    from halocline.training.recipe import read_recipe

    if arguments.threads is not None:
        if arguments.threads < 1:
            raise UsageError(f"--threads must be at least 1, not {arguments.threads}.")
        torch.set_num_threads(arguments.threads)
    budgets = [Budget.parse(text) for text in arguments.budget]
    path, folder = Path(arguments.what), arguments.output
    recipe = read_recipe(path)
    further = [_for_recipe(text, path.parent) for text in arguments.then or ()]
    fabric = make_fabric(arguments.device or _DEVICE, recipe.training.precision)
    with claimed(folder):
        if not arguments.resume:
            for name in (CURVE_FILE, PLOT_FILE, CHOSEN_FILE):
                if (folder / name).exists():
                    raise UsageError(
                        f"{folder / name} exists, and the search would replace it; choose another --output, move "
                        "it, or continue the search that it is of with --resume."
                    )
        try:
            with within(str(path)):
                found = Search(recipe, path.parent, folder, fabric, str(fabric.device), _say_epoch).run(
                    budgets, further, resume=arguments.resume
                )
        except KeyboardInterrupt:
            say(f"Stopped; all epochs so far are kept in {folder}. Continue with --resume.")
            raise
        return _finish(found, folder, as_json=arguments.json)


def _for_recipe(prune: str, folder: Path) -> str:
    """A pruner of the command line as a recipe in a folder names it: files are relative to that."""
    from halocline.model.pruner import with_files

    return str(with_files(prune, lambda file: file if Path(file).is_absolute() else os.path.relpath(file, folder)))


def _say_epoch(name: str, record: EpochRecord) -> None:
    errors = f"energy {_number(record.energy_mae)} meV/atom, forces {_number(record.forces_mae)} meV/Å"
    say(f"{name}: epoch {record.epoch}  loss {record.loss:.5f}  validation: {errors}  {record.seconds:.1f} s")


def _finish(found: Outcome, folder: Path, *, as_json: bool) -> int:
    """Write and show what was found."""
    from halocline.files import write_atomically
    from halocline.training.pruning.plot import plot_curve
    from halocline.training.pruning.report import as_values

    values = as_values(found)
    write_atomically(folder / CURVE_FILE, json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n")
    plot_curve(found, folder / PLOT_FILE)
    (folder / CHOSEN_FILE).unlink(missing_ok=True)  # of an earlier budget
    if found.chosen is not None:
        found.chosen.potential.save(folder / CHOSEN_FILE)
    if as_json:
        emit_json(values)
    else:
        _show(found)
    say(f"Wrote {folder / CURVE_FILE} and {folder / PLOT_FILE}.")
    budgets = ", ".join(map(str, found.budgets))
    if found.chosen is None:
        raise TrainingError(f"No candidate is within {budgets}; allow more, or fit for longer.")
    say(f"Within {budgets}, {found.chosen.name} is the cheapest: {folder / CHOSEN_FILE}.")
    return 0


def _show(found: Outcome) -> None:
    from halocline.training.pruning.costs import CUBE_ATOMS

    columns = [
        "model",
        "reach Å",
        "µs/atom",
        "time",
        *(f"halo {ranks}" for ranks in found.costs[0].redundancy),
        "energy",
        "forces",
        "",
    ]
    rows = [
        [
            each.name,
            "∞" if cost.receptive_field is None else f"{cost.receptive_field:.1f}",
            f"{cost.time:.3g}",
            f"{cost.time_ratio:.2f}",
            *(f"{value:.2f}" for value in cost.redundancy.values()),
            _number(each.validation.energy_mae),
            _number(each.validation.forces_mae),
            "chosen" if each is found.chosen else "within" if found.within(each) else "",
        ]
        for each, cost in zip(found.candidates, found.costs, strict=True)
    ]
    table("Errors on validation frames, and costs", columns, rows)
    emit(
        "time: of the unpruned model's. halo N: edges that N ranks evaluate, over those of the structure,\n"
        f"predicted for {CUBE_ATOMS} atoms. energy: MAE in meV/atom, forces: MAE in meV/Å."
    )


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.2f}"
