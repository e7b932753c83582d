"""The files of one run, which share a prefix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from filelock import FileLock, Timeout

from halocline.errors import DynamicsError, UsageError
from halocline.files import newest, previous_path


@final
@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files that a run writes.

    Attributes:
        prefix: path without extension, such as ``runs/water``; its folder is made if it is missing.
        collected: path of the frames about which a committee disagrees, as extended XYZ; None if none are kept.
    """

    prefix: Path
    collected: Path | None = None

    @property
    def trajectory(self) -> Path:
        """Path of the trajectory: frames, as extended XYZ."""
        return self._with(".extxyz")

    @property
    def log(self) -> Path:
        """Path of the log: energies, temperature and pressure, as CSV."""
        return self._with(".csv")

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint: the state to resume from."""
        return self._with(".npz")

    @property
    def plot(self) -> Path:
        """Path of the log as a figure."""
        return self._with(".png")

    @property
    def appended(self) -> dict[str, Path]:
        """The files that grow step by step, by what is in them."""
        files = {"trajectory": self.trajectory, "log": self.log}
        return files if self.collected is None else files | {"collected": self.collected}

    def as_options(self) -> dict[str, str]:
        """Where frames are collected, as seen from the run, so that it goes on with the same file."""
        if self.collected is None:
            return {}
        return {"collect": os.path.relpath(self.collected, self.prefix.parent)}

    @property
    def resumable(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return newest(self.checkpoint) is not None

    def prepare(self, *, overwrite: bool, resumes: bool = True) -> None:
        """Make sure that no other run's files are lost.

        Args:
            overwrite: whether they may be.
            resumes: whether who asks could go on with a run that is there.

        Raises:
            UsageError: the files of a run are there already and may not be overwritten, or one of them would be
                another.
        """
        self._refuse_shared()
        files = (*self.appended.values(), self.checkpoint, previous_path(self.checkpoint))
        there = [path for path in files if path.exists()]
        if there and not overwrite:
            go_on = "continue that run with --resume, " if resumes else ""
            raise UsageError(f"{there[0]} exists: {go_on}replace it with --overwrite, or choose another --output.")
        for path in there:
            path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep all other processes off the run while the block lasts.

        Raises:
            DynamicsError: another process is writing this run, or the folder cannot be made.
        """
        lock = FileLock(self.prefix.with_name(f".{self.prefix.name}.lock"))
        try:
            self.prefix.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise DynamicsError(f"Another process is writing the run {self.prefix}; let it end.") from error
        except OSError as error:
            raise DynamicsError(f"Cannot write into {self.prefix.parent}: {error.strerror}.") from error
        try:
            yield
        finally:
            lock.release()

    def _refuse_shared(self) -> None:
        if self.collected is not None and self.collected.resolve() in {
            path.resolve() for path in (self.trajectory, self.log, self.checkpoint, self.plot)
        }:
            raise UsageError(f"Collected frames need a file of their own; {self.collected} is one of the run's.")

    def _with(self, extension: str) -> Path:
        return self.prefix.with_name(self.prefix.name + extension)
