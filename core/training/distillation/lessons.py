"""What a teacher says of the training frames: evaluated once, and kept with the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast, final

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.data.frames import Frames
from halocline.data.labels import Labels
from halocline.digests import tensors_digest
from halocline.errors import HaloclineError, TrainingError, within
from halocline.files import write_atomically
from halocline.model.condition import taken_entries
from halocline.potential.many import outcomes
from halocline.program import Precision
from halocline.training.deal import deal
from halocline.training.distillation.scale import on_the_scale_of_labels
from halocline.training.distillation.teacher import Teacher
from halocline.training.team import Team

if TYPE_CHECKING:
    from halocline.training.problem import Problem

#: In the folder of a run.
LESSONS_FILE: Final = "lessons.safetensors"

_FORMAT: Final = "halocline-lessons-1"

#: Structures of each rank between two meetings of all, which must be less than the ranks' patience apart.
_AT_ONCE: Final = 16


@final
@dataclass(frozen=True, slots=True)
class Lessons:
    """Energies and forces by the numbers of frames.

    Attributes:
        energies: eV, with the teacher's reference energies.
        forces: (N, 3), eV/Å.
    """

    energies: Mapping[int, float]
    forces: Mapping[int, NDArray[np.float64]]


def taught_labels(problem: Problem, folder: Path, device: torch.device, team: Team) -> dict[int, Labels]:
    """What the teacher of a problem says of its frames, by their numbers, in the place of labels.

    Energies are on the scale of the labels, unless the recipe does not want that.

    Args:
        problem: what is fitted; without a teacher nothing is said.
        folder: of the run.
        device: on which to evaluate.
        team: the ranks, each of which evaluates a share.

    Raises:
        TrainingError: the file that keeps it cannot be written, or holds something else.
        HaloclineError: a structure cannot be evaluated.
        LostRankError: another rank has ended, or does not answer.
    """
    settings, teacher, taught = problem.recipe.distillation, problem.teacher, problem.taught
    if settings is None or teacher is None:
        return {}
    lessons = read_or_evaluate(teacher, problem.frames, taught, folder, device, team)
    energies = lessons.energies
    if settings.align:
        labels = {i: e for i in problem.split.train if (e := problem.labels[i].energy) is not None}
        structures = {i: problem.frames.numbers(i) for i in taught}
        energies = on_the_scale_of_labels(problem.backbone.species, structures, energies, labels)
    wanted = taught if settings.on == "all" else problem.split.unlabelled
    return {i: Labels(energies.get(i), lessons.forces[i]) for i in wanted}


def read_or_evaluate(
    teacher: Teacher,
    frames: Frames,
    taught: Sequence[int],
    folder: Path,
    device: torch.device,
    team: Team,
) -> Lessons:
    """What a teacher says, the same on all ranks. The first of them keeps it in a file.

    It is evaluated in float64, so that its numbers do not depend on which structures come together.

    Args:
        teacher: the model.
        frames: of all files.
        taught: numbers of those that it knows, and is asked for.
        folder: of the run.
        device: on which to evaluate.
        team: the ranks, each of which evaluates a share.

    Raises:
        TrainingError: the file cannot be written, or holds something else.
        HaloclineError: a structure cannot be evaluated.
        LostRankError: another rank has ended, or does not answer.
    """
    path = folder / LESSONS_FILE
    about = json.dumps({"teacher": teacher.digest, "structures": _digest(teacher, frames, taught)}, sort_keys=True)
    values = _read(path, about)
    known = torch.tensor([float(values is not None)], device=device)
    team.sum(known)
    if values is None or float(known) < team.size:
        values = _evaluate(teacher, frames, taught, device, team)
        if team.is_first:
            _write(path, about, values)
    rows = torch.split(values, [1 + 3 * len(frames.numbers(i)) for i in taught])
    said = {i: row.numpy() for i, row in zip(taught, rows, strict=True)}
    return Lessons(
        {i: float(row[0]) for i, row in said.items()},
        {i: row[1:].reshape(-1, 3) for i, row in said.items()},
    )


def _evaluate(teacher: Teacher, frames: Frames, taught: Sequence[int], device: torch.device, team: Team) -> Tensor:
    """For one structure after another its energy and its forces, in one row (Σ (1 + 3 N),) float64."""
    potential, rows = teacher.potential, []
    evaluator = potential.evaluator("torch", Precision.FLOAT64, str(device), "none", "auto")
    for first in range(0, len(taught), _AT_ONCE * team.size):
        some = [frames[i] for i in taught[first : first + _AT_ONCE * team.size]]
        mine = deal([len(frame.atoms) for frame in some], team.size)[team.rank]
        found = [torch.zeros(1 + 3 * len(frame.atoms), dtype=torch.float64) for frame in some]
        told = outcomes(potential, evaluator, [some[i].atoms for i in mine], teacher.head)
        for i, outcome in zip(mine, told, strict=True):
            if isinstance(outcome, HaloclineError):
                with within(f"{some[i]}, as the teacher sees it"):
                    raise outcome
            potential.say_outside(outcome)
            found[i] = torch.from_numpy(np.concatenate([[outcome.energy], outcome.forces.ravel()]))
        row = torch.cat(found).to(device)
        team.sum(row)  # of one rank's values and the zeros of the others
        rows.append(row.cpu())
    return torch.cat(rows) if rows else torch.zeros(0, dtype=torch.float64)


def _write(path: Path, about: str, values: Tensor) -> None:
    tensors = {"values": values}
    metadata = {"format": _FORMAT, "about": about, "sha256": tensors_digest(tensors.items(), about)}
    try:
        write_atomically(path, safetensors.torch.save(tensors, metadata))
    except OSError as error:
        raise TrainingError(f"Cannot write {path}: {error.strerror or error}.") from error


def _read(path: Path, about: str) -> Tensor | None:
    """What the file holds; None if there is none, or it is of another teacher or of other structures."""
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata, values = file.metadata() or {}, file.get_tensor("values")
        if metadata.get("format") != _FORMAT:
            raise ValueError("it has another format")
        if metadata["sha256"] != tensors_digest({"values": values}.items(), metadata["about"]):
            raise ValueError("its checksum does not match")
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"{path} does not hold what a teacher has said ({error}). Move it away: if it belongs to this run, "
            "the teacher is asked again."
        ) from error
    return cast("Tensor", values) if metadata["about"] == about else None


def _digest(teacher: Teacher, frames: Frames, taught: Sequence[int]) -> str:
    """Of everything that the teacher takes of structures."""
    taken = sorted(taken_entries(teacher.potential.backbone.conditions))
    digest = hashlib.sha256()
    for i in taught:
        atoms = frames[i].atoms
        digest.update(repr((i, len(atoms), [atoms.info.get(name) for name in taken])).encode())
        for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
