"""All frames of active learning: those that are fitted, those that judge, and those that may be chosen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from halocline.active.splits import PoolSplit
from halocline.data.frames import open_frames
from halocline.data.indices import write_indices
from halocline.errors import TrainingError, UsageError, within
from halocline.files import temporary_folder
from halocline.model.condition import taken_entries
from halocline.training.problem import Problem, prepare
from halocline.training.recipe import DataSettings, Recipe, resolve

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.active.recipe import ActiveRecipe
    from halocline.active.settings import ActiveSettings
    from halocline.data.frames import Frame
    from halocline.data.labels import Labels
    from halocline.training.split import Split

_PURPOSES: Final = ("train_files", "validation_files", "test_files")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Frames by their numbers through all files.

    Attributes:
        files: as recipes name them.
        lengths: frames in each.
        frames: of all files.
        labels: of the frames.
        species: that occur in frames that are or may be fitted.
        taken: entries of ``atoms.info`` that the models take.
        split: before the first iteration.
        digest: SHA-256 of structures and labels, in order.
    """

    files: tuple[str, ...]
    lengths: tuple[int, ...]
    frames: Sequence[Frame]
    labels: Sequence[Labels]
    species: tuple[str, ...]
    taken: frozenset[str]
    split: PoolSplit
    digest: str

    def atoms(self, frame: int) -> Atoms:
        """The structure of a frame."""
        return self.frames[frame].atoms

    def name(self, frame: int) -> str:
        """A frame for messages."""
        return str(self.frames[frame])

    def by_file(self, split: PoolSplit, further: Sequence[tuple[str, int]]) -> FileSplit:
        """A split as files state it.

        Args:
            split: of an iteration.
            further: names and lengths of files whose frames come after those of the pool.
        """
        lengths = [*self.lengths, *(length for _, length in further)]
        return FileSplit((*self.files, *(file for file, _ in further)), split.by_file(lengths))


@final
@dataclass(frozen=True, slots=True)
class FileSplit:
    """Attributes: data files, as recipes name them, and for each which of its frames serve what."""

    files: tuple[str, ...]
    parts: list[dict[str, list[int]]]

    def save(self, folder: Path, settings: DataSettings, source: Path) -> DataSettings:
        """Write a split file for each file, and say what a fit to them has as its data.

        Args:
            folder: for the split files, made if it is missing.
            settings: of the recipe.
            source: folder of the recipe, to which the settings name the split files.

        Raises:
            TrainingError: a split file cannot be written.
        """
        paths = [folder / f"split_{place:02d}_{Path(file).stem}.npz" for place, file in enumerate(self.files)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, part in zip(paths, self.parts, strict=True):
                write_indices(path, part)
        except OSError as error:
            raise TrainingError(f"Cannot write split files into {folder}: {error.strerror or error}.") from error
        return replace(
            settings,
            files=self.files,
            split=None,
            split_files=tuple(os.path.relpath(path, source) for path in paths),
            train_files=(),
            validation_files=(),
            test_files=(),
        )


def gather(recipe: ActiveRecipe, source: Path, folder: Path) -> Pool:
    """Read all frames, and look for what would stop the loop in a later iteration.

    Args:
        recipe: of the loop.
        source: to which the paths of data files are relative.
        folder: of the loop.

    Raises:
        TrainingError: the data cannot be used, a frame of the pool shows a structure of the validation or test
            frames, the pool is empty, or a label is missing.
        HaloclineError: as for `prepare`.
    """
    first = prepare(recipe.training, source)
    files = _files(recipe.training.data)
    sizes = [len(part) for part in first.frames.parts[: len(files)]]  # after these come those of other purposes
    split = first.split
    known = sum(sizes)
    used = {*split.train, *split.validation, *split.test}
    reserve = [frame for frame in range(known) if frame not in used]
    if recipe.active.pool_files:
        for i, file in enumerate(recipe.active.pool_files):
            with within(f"active.pool_files[{i}]"):
                sizes.append(len(open_frames(file, resolve(file, source), recipe.training.data.units)))
            files.append(file)
        reserve = list(range(known, sum(sizes)))
    if not reserve:
        raise UsageError(
            "There is no pool to choose from: name its files in active.pool_files, or let [data.split] leave "
            "frames of data.files over."
        )
    _refuse_unjudged(recipe.active, split)
    start = PoolSplit(train=split.train, validation=split.validation, test=split.test, reserve=tuple(reserve))
    whole = _prepare_all(recipe.training, files, sizes, start, source, folder)
    _refuse_unlabelled(whole, start, recipe.active)
    return Pool(
        files=tuple(files),
        lengths=tuple(sizes),
        frames=whole.frames,
        labels=whole.labels,
        species=whole.backbone.species,
        taken=frozenset(taken_entries(whole.backbone.conditions)),
        split=start,
        digest=whole.digest,
    )


def _refuse_unjudged(active: ActiveSettings, split: Split) -> None:
    if not split.validation and active.cutoff is None:
        raise UsageError(
            "The cutoff follows from the scores of validation frames, and there are none; add some to the "
            "recipe's data, or set active.cutoff."
        )


def _files(data: DataSettings) -> list[str]:
    """All files of a recipe, in the order in which their frames are numbered."""
    return [file for key in ("files", *_PURPOSES) for file in getattr(data, key)]


def _prepare_all(
    recipe: Recipe, files: Sequence[str], sizes: Sequence[int], split: PoolSplit, source: Path, folder: Path
) -> Problem:
    """The problem in which all of the pool is fitted: what is wrong with a frame shows before the first epoch."""
    everything = replace(split, train=(*split.train, *split.reserve), reserve=())
    with temporary_folder(folder) as temporary:
        data = FileSplit(tuple(files), everything.by_file(sizes)).save(temporary, recipe.data, source)
        with within("with all of the pool in the training set"):
            return prepare(replace(recipe, data=data), source)


def _refuse_unlabelled(whole: Problem, split: PoolSplit, active: ActiveSettings) -> None:
    """Frames that are compared with their labels must have those that weigh in the score."""
    weights = {"energy": active.energy_weight, "forces": 1.0 - active.energy_weight}
    compared = (*split.validation, *(split.reserve if active.labelled else ()))
    for frame in compared:
        for label, weight in weights.items():
            if weight and getattr(whole.labels[frame], label) is None:
                raise TrainingError(
                    f"{whole.frames[frame]} has no {label}, of which its score is made. Leave it out, change "
                    f"active.energy_weight ({active.energy_weight:g}), or, for a pool without labels, set "
                    "active.labelled = false."
                )
    for frame in (*split.validation, *split.reserve):
        atoms = len(whole.frames.numbers(frame))
        if atoms % active.atoms_per_molecule:
            raise UsageError(
                f"active.atoms_per_molecule is {active.atoms_per_molecule}, but {whole.frames[frame]} has {atoms} "
                "atoms, which is no multiple of it."
            )
