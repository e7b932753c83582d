"""Which frames of a file serve which purpose, as arrays of NumPy: the split files of PNNL's cluster networks."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import TrainingError
from halocline.files import write_atomically

#: Purpose → its array. Frames to examine and in reserve are pools from which active learning draws.
NAMES: Final[Mapping[str, str]] = {
    "train": "train_idx",
    "validation": "val_idx",
    "test": "test_idx",
    "examine": "examine_idx",
    "reserve": "reserve_idx",
}
#: No frame may serve two of these.
_DISJOINT: Final = ("train", "validation", "test")


def read_indices(path: Path, frames: int) -> dict[str, NDArray[np.int64]]:
    """Read a split file: numbers of frames from 0, ascending, for each of `NAMES`; none where an array is missing.

    Args:
        path: an ``.npz`` file.
        frames: how many the file has that it splits.

    Raises:
        TrainingError: it is missing or damaged, has no frames to train on, or its arrays are no numbers of
            frames; or a frame is there twice, in one set or in two of training, validation and test.
    """
    arrays = _load(path)
    if NAMES["train"] not in arrays:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise TrainingError(f"The split file {path} has no {NAMES['train']}, it holds {held}.")
    sets = {purpose: _numbers(path, name, arrays.get(name), frames) for purpose, name in NAMES.items()}
    for one, other in combinations(_DISJOINT, 2):
        shared = np.intersect1d(sets[one], sets[other])
        if len(shared):
            raise TrainingError(
                f"The split file {path} has {len(shared)} frames in both {NAMES[one]} and {NAMES[other]}, such as "
                f"{shared[0]}; errors on them would look too good. Remove them from one of the two."
            )
    return sets


def write_indices(path: Path, sets: Mapping[str, Sequence[int]]) -> None:
    """Write a split file that `read_indices` reads, at once or not at all.

    Args:
        path: to be replaced.
        sets: purpose, of `NAMES` → numbers of frames.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    data = io.BytesIO()
    arrays: dict[str, Any] = {NAMES[purpose]: np.asarray(some, np.int64) for purpose, some in sets.items()}
    np.savez(data, **arrays)
    write_atomically(path, data.getvalue())


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("a single array")
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise TrainingError(f"There is no split file {path}.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"The split file {path} cannot be read as arrays of NumPy (.npz); it is damaged or something else."
        ) from error


def _numbers(path: Path, name: str, array: NDArray[Any] | None, frames: int) -> NDArray[np.int64]:
    if array is None or not array.size:
        return np.zeros(0, np.int64)
    if array.dtype.kind not in "iu":
        raise TrainingError(f"{name} of the split file {path} holds {array.dtype} and not whole numbers.")
    numbers, counts = np.unique(array.astype(np.int64), return_counts=True)
    if numbers[0] < 0 or numbers[-1] >= frames:
        wrong = numbers[0] if numbers[0] < 0 else numbers[-1]
        raise TrainingError(
            f"{name} of the split file {path} names frame {wrong}, but there are {frames}, from 0; is it the "
            "split of another file?"
        )
    if counts.max() > 1:
        raise TrainingError(f"{name} of the split file {path} names frame {numbers[counts.argmax()]} twice.")
    return numbers
