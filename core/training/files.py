"""The data files of a recipe: their frames, and which serve what where the recipe says so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ase.data import atomic_numbers, chemical_symbols

from halocline.data.frames import Frame, Frames, open_frames
from halocline.data.indices import read_indices
from halocline.errors import TrainingError, within
from halocline.training.recipe import DataSettings, ReplaySettings, resolve
from halocline.training.split import Split, consecutive_split


def frames_of(data: DataSettings, folder: Path) -> tuple[Frames, Split | None]:
    """Read the files, in the order of training, validation and test if they are given by purpose.

    Args:
        data: which files.
        folder: to which their paths are relative.

    Returns:
        All frames, and how they are split; None if they are to be drawn.

    Raises:
        TrainingError: a file is missing, empty or damaged, or a split file does not fit.
        UsageError: a file is named by an environment variable that is not set.
    """
    if data.files:
        parts = _read(data, "files", folder)
        split = _listed(data, folder, [len(part) for part in parts]) if data.split_files else None
    else:
        sets = [_read(data, key, folder) for key in ("train_files", "validation_files", "test_files")]
        parts = [part for some in sets for part in some]
        split = consecutive_split(*(sum(map(len, some)) for some in sets))
    return Frames(parts), split


def unlabelled_frames(data: DataSettings, folder: Path) -> Frames:
    """Read the structures on which a teacher is asked; arguments and errors as for `frames_of`."""
    return Frames(_read(data, "unlabelled_files", folder))


def replayed_frames(replay: ReplaySettings, folder: Path, elements: Collection[str]) -> Frames:
    """Read the frames to replay.

    Args:
        replay: which files.
        folder: to which their paths are relative.
        elements: that the parent knows.

    Raises:
        TrainingError: a file is missing, empty or damaged, there are fewer frames than an epoch is to see, or one
            has other elements.
        UsageError: a file is named by an environment variable that is not set.
    """
    parts = []
    for i, file in enumerate(replay.files):
        with within(f"data.replay.files[{i}]"):
            parts.append(open_frames(file, resolve(file, folder)))
    frames = Frames(parts)
    if len(frames) < replay.frames:
        raise TrainingError(
            f"data.replay.frames is {replay.frames}, but data.replay.files hold {len(frames)}; lower it, or add "
            "files."
        )
    known = {atomic_numbers[symbol] for symbol in elements}
    for i in range(len(frames)):
        if strange := [chemical_symbols[z] for z in sorted(set(frames.numbers(i).tolist()) - known)]:
            raise TrainingError(
                f"data.replay: {frames[i]} contains {', '.join(strange)}, which the parent does not know: it is "
                "none of its data."
            )
    return frames


def _read(data: DataSettings, key: str, folder: Path) -> list[Sequence[Frame]]:
    """The frames of each file under a key."""
    parts: list[Sequence[Frame]] = []
    for i, file in enumerate(getattr(data, key)):
        with within(f"data.{key}[{i}]"):
            parts.append(open_frames(file, resolve(file, folder), data.units))
    return parts


def _listed(data: DataSettings, folder: Path, frames: list[int]) -> Split:
    """The split that files of indices state, each of one data file."""
    sets: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    first = 0
    for i, (file, count) in enumerate(zip(data.split_files, frames, strict=True)):
        with within(f"data.split_files[{i}]"):
            found = read_indices(resolve(file, folder), count)
        for purpose, some in sets.items():
            some += (first + found[purpose]).tolist()
        first += count
    return Split(*map(tuple, sets.values()))
