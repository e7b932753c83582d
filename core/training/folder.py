"""The folder of a training run: for one process at a time, and never over the files of something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from halocline.errors import TrainingError, UsageError
from halocline.files import newest
from halocline.training.state import STATE_FILE

#: What a run writes into its folder beside its state.
MODEL_FILE: Final = "model.safetensors"
METRICS_FILE: Final = "metrics.csv"
CURVES_FILE: Final = "learning_curves.png"
PARITY_FILE: Final = "parity.png"

#: Its lock says that a process trains there; the file stays, empty.
_LOCK_FILE: Final = ".training.lock"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make the folder, and keep all other trainings off it while the block lasts.

    Files that belong to the run whose state is there are its own; without a state they are somebody else's.

    Raises:
        TrainingError: another process trains there, or the folder cannot be written.
        UsageError: it holds files that the run would replace and that are not its own.
    """
    with alone(folder):
        _refuse_foreign_files(folder)
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder, and keep all other trainings off it while the block lasts, whatever it holds.

    Raises:
        TrainingError: another process trains there, or the folder cannot be written.
    """
    lock = FileLock(folder / _LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TrainingError(
            f"Another process is training in {folder}; let it end, or choose another --output."
        ) from error
    except OSError as error:
        raise TrainingError(f"Cannot write into {folder}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def _refuse_foreign_files(folder: Path) -> None:
    there = [name for name in (MODEL_FILE, METRICS_FILE, CURVES_FILE, PARITY_FILE) if (folder / name).exists()]
    if there and newest(folder / STATE_FILE) is None:
        raise UsageError(
            f"{folder / there[0]} exists and is of no run that could go on here, so training would replace it; "
            "choose another --output, or move it."
        )
