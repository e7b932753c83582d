"""The end of a run: a potential with the averaged weights, measured on the frames nobody has looked at."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

import halocline
from halocline.applicability import describe
from halocline.checkpoint import Checkpoint
from halocline.checkpoint.checkpoint import serialise
from halocline.errors import CheckpointError, TrainingError
from halocline.evaluator.result import Result
from halocline.model.build import build_backbone
from halocline.potential.curl import DIRECT_FORCES, curl_for_card
from halocline.potential.potential import Potential
from halocline.training.errors import Errors, measure
from halocline.training.parent import inherit, public_name, public_pruning
from halocline.training.problem import Problem
from halocline.training.run import TrainingRun

UNDETERMINED = (
    "The compositions of the training frames do not determine a reference energy for each element: only energy "
    "differences at the stoichiometry of those frames have a meaning."
)

#: Numbers of frames that a card lists for each set.
_MOST_LISTED: Final = 10_000

#: Frames on which the curl of direct forces is measured, which takes `PROBES` times two evaluations of each.
_CURL_FRAMES: Final = 4

_NOT_VALIDATED = "Nothing was validated during the fit: all frames were for training{}."


def finish(
    run: TrainingRun, device: str, take: Callable[[int, Result], None] = lambda frame, result: None
) -> tuple[Potential, Errors | None]:
    """Make the potential and measure it as its users will call it.

    Args:
        run: after its last epoch.
        device: where to evaluate the test frames.
        take: is given the number and the result of each of them.

    Returns:
        The potential with its card, and its errors on the test frames, None if there are none.
    """
    problem = run.problem
    # Built anew: in the trained copy, what follows from the config was rounded to the training precision.
    backbone = build_backbone(problem.backbone.name, problem.backbone.config)
    backbone.load_state_dict(unrounded(problem.backbone.state_dict(), run.model_weights()))
    potential = Potential(backbone.eval(), problem.reference_energies, {})
    test = problem.split.test
    errors = frame_errors(potential, problem, test, device, take) if test else None
    card = make_card(problem, errors)
    if not backbone.derives_forces:
        card[DIRECT_FORCES] = _curl(potential, problem, device)
    if problem.recipe.training.stopping.decides:
        card["recipe"]["epochs"] = {"done": len(run.history), "of_the_model": run.model_epoch}
    return dataclasses.replace(potential, card=card), errors


def unrounded(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights after a fit; those that it left as they were, in its precision, have all the digits from before.

    Frozen weights and constants are to lose none by a fit that never moves them.

    Args:
        before: weights and constants by name.
        after: the same.
    """
    return {
        name: before[name] if torch.equal(before[name].to(found), found) else found
        for name, found in after.items()
    }


def _curl(potential: Potential, problem: Problem, device: str) -> dict[str, Any]:
    """How far direct forces are from being a derivative, on the first few frames that serve to judge the model."""
    purposes = problem.split.purposes()
    name = next(name for name in ("test", "validation", "train") if purposes[name])
    frames = purposes[name][:_CURL_FRAMES]
    where = f"{len(frames)} {name} frames"
    return curl_for_card(potential, (problem.frames[i].atoms for i in frames), device, where)


def refuse_unwritable(problem: Problem) -> None:
    """Find out before the first epoch whether the file of a model with this card could be written after the last.

    Raises:
        TrainingError: it could not, because its card is too large, say.
    """
    backbone = problem.backbone
    try:
        serialise(
            Checkpoint(
                backbone=backbone.name,
                config=backbone.config,
                tensors=backbone.state_dict(),
                reference_energies=problem.reference_energies,
                card=make_card(problem, None),
            )
        )
    except CheckpointError as error:
        raise TrainingError(f"The model could not be written once it is trained: {error}.") from error


def frame_errors(
    potential: Potential,
    problem: Problem,
    frames: Sequence[int],
    device: str,
    take: Callable[[int, Result], None] = lambda frame, result: None,
) -> Errors:
    """Errors on some frames, in the precision of the training; ``take`` is given each number and result."""
    precision = problem.recipe.training.precision
    structures = (problem.frames[i].atoms for i in frames)
    results = cast("list[Result]", list(potential.map(structures, dtype=precision, device=device)))
    for frame, result in zip(frames, results, strict=True):
        take(frame, result)
    return measure(
        [problem.labels[i] for i in frames],
        [problem.reference(i) for i in frames],
        [len(problem.frames[i].atoms) for i in frames],
        [result.energy for result in results],
        [result.forces for result in results],
        [result.stress for result in results],
    )


def make_card(problem: Problem, errors: Errors | None) -> dict[str, Any]:
    """The recipe's card, completed by what is known: errors, recipe, split, distances, what energies mean."""
    card = dict(problem.recipe.card)
    if problem.origin is not None:
        card = inherit(card, problem.origin, problem.recipe.model)
    card |= describe(problem.contacts, problem.backbone.neighbours)
    card["units"] = {"energy": "eV", "length": "Å", "forces": "eV/Å"}
    if errors is not None:
        card["errors"] = {name: value for name, value in _named_errors(errors).items() if value is not None}
    card["recipe"] = _reproduction(problem)
    kept = problem.parent if problem.recipe.references.kind == "keep" else None
    open_before = kept is not None and UNDETERMINED in kept.card.get("notes", "")
    remarks = [UNDETERMINED] if open_before or not problem.references_determined else []
    if not problem.split.validation:
        unseen = " or the test at the end" if problem.split.test else "; errors on unseen structures are not known"
        remarks.append(_NOT_VALIDATED.format(unseen))
    if problem.backbone.rank_remark:
        remarks.append(problem.backbone.rank_remark)
    if remarks:
        card["notes"] = " ".join([card.get("notes", ""), *remarks]).strip()
    return card


def _named_errors(errors: Errors) -> dict[str, float | int | None]:
    """Errors under names that say where they were measured and in which unit."""
    return {
        "test_frames": errors.frames,
        "energy_mae_meV_per_atom": errors.energy_mae,
        "energy_rmse_meV_per_atom": errors.energy_rmse,
        "energy_labels_std_meV_per_atom": errors.energy_std,
        "force_component_mae_meV_per_A": errors.forces_mae,
        "force_component_rmse_meV_per_A": errors.forces_rmse,
        "force_component_labels_std_meV_per_A": errors.forces_std,
        "force_component_labels_mean_magnitude_meV_per_A": errors.forces_mean,
        "stress_component_mae_meV_per_A3": errors.stress_mae,
        "stress_component_rmse_meV_per_A3": errors.stress_rmse,
        "stress_component_labels_std_meV_per_A3": errors.stress_std,
    }


def _reproduction(problem: Problem) -> dict[str, Any]:
    """Everything needed to train the model again, as plain JSON values."""
    digests = problem.frames.files
    names = _public_names(list(digests))
    table = problem.recipe.outcome() | {
        "frames": {name: _listed(frames) for name, frames in problem.split.purposes().items()},
        "files_sha256": {names[source]: sha256 for source, sha256 in digests.items()},
        **_grouped(problem),
        "versions": {"halocline": halocline.__version__, "torch": str(torch.__version__)},
    }
    for data in filter(None, (table["data"], table["data"]["replay"])):
        data |= {
            key: [names.get(file, Path(file).name) for file in data[key]] for key in data if key.endswith("files")
        }
    if problem.teacher is not None:
        table["distillation"]["teacher"] = public_name(problem.teacher.name)
        table["teacher"] = problem.teacher.as_card()
    if problem.recipe.model.from_ is not None:
        table["model"]["from"] = public_name(problem.recipe.model.from_)
        table["model"]["prune"] = public_pruning(problem.recipe.model.prune)
    return table


def _listed(frames: tuple[int, ...]) -> list[int] | dict[str, Any]:
    """The numbers of frames, or what tells whether others are the same where a card has no room for them."""
    if len(frames) <= _MOST_LISTED:
        return list(frames)
    sha256 = hashlib.sha256(np.asarray(frames, "<i8").tobytes()).hexdigest()
    return {"number": len(frames), "sha256_of_int64": sha256}


def _grouped(problem: Problem) -> dict[str, Any]:
    """How many frames were kept together because they show the same structure."""
    split = problem.recipe.data.split
    if split is None or split.duplicates != "group":
        return {}
    groups = problem.duplicates
    return {"duplicates": {"groups": len(groups), "frames": sum(map(len, groups)), "each_group_in_one_set": True}}


def _public_names(sources: list[str]) -> dict[str, str]:
    """Data files as a card may call them: as the recipe does, but without folders of the machine that trained."""
    names: dict[str, str] = {}
    for source in sources:
        name = Path(source).name if source.startswith("~") or Path(source).is_absolute() else source
        repeats = sum(each == name or each.startswith(f"{name} (") for each in names.values())
        names[source] = f"{name} ({repeats + 1})" if repeats else name
    return names
