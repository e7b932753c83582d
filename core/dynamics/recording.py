"""What every run of dynamics writes, whoever moves its atoms: a log, a trajectory, and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any, final

from ase import Atoms

from halocline.appended import EMPTY, AppendedFile
from halocline.dynamics.identity import check_same_options
from halocline.dynamics.records import frame_bytes, row_bytes
from halocline.dynamics.run_files import RunFiles
from halocline.dynamics.settings import Settings
from halocline.dynamics.snapshot import Snapshot, load_snapshot, save_snapshot, say_other_versions
from halocline.dynamics.step_record import StepRecord
from halocline.errors import DynamicsError, UnstableDynamicsError

#: Length and SHA-256 of each file that a run appends to, by name.
Marks = dict[str, dict[str, Any]]


@final
class Recording:
    """The files of one run, from its start or its checkpoint on.

    Args:
        output: which files.
        settings: how often the log and the trajectory are written to.
        options: what must not change when the run goes on.
        libraries: whose versions checkpoints hold.

    Attributes:
        options: likewise.
        versions: of these libraries.
        saved: the step of the last checkpoint.
        framed: the step of the last frame; None before there is one.
    """

    def __init__(
        self, output: RunFiles, settings: Settings, options: dict[str, Any], libraries: Sequence[str]
    ) -> None:
        self._output, self._settings = output, settings
        self._marks: Marks = dict.fromkeys(output.appended, EMPTY)
        self._files: dict[str, AppendedFile] = {}
        self.options = options
        self.versions = {name: version(name) for name in libraries}
        self.saved = 0
        self.framed: int | None = None

    def restore(self, atoms: Atoms) -> Snapshot:
        """Bring atoms to the state of the checkpoint, and go on with its files.

        Raises:
            DynamicsError: there is none, it is damaged, or it belongs to other options.
        """
        snapshot = load_snapshot(self._output.checkpoint)
        check_same_options(snapshot.options, self.options)
        say_other_versions(snapshot.versions, self.versions)
        atoms.set_cell(snapshot.cell, scale_atoms=False, apply_constraint=False)
        atoms.set_positions(snapshot.positions, apply_constraint=False)
        atoms.set_momenta(snapshot.momenta, apply_constraint=False)
        self._marks, self.saved = snapshot.marks, snapshot.step
        return snapshot

    def begin(self, snapshot_of: Callable[[Marks], Snapshot], *, overwrite: bool) -> None:
        """Write the first checkpoint of a new run.

        Args:
            snapshot_of: makes it, given the marks of its files.
            overwrite: replace a run that is there.

        Raises:
            UsageError: the files of another run are in the way.
            DynamicsError: it cannot be written.
        """
        self._output.prepare(overwrite=overwrite)
        save_snapshot(self._output.checkpoint, snapshot_of(self._marks))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let files grow while the block lasts.

        Raises:
            DynamicsError: one of them is not what it was at the checkpoint, or cannot be written.
        """
        with ExitStack() as stack:
            self._files = {
                name: stack.enter_context(AppendedFile(path, self._marks[name], error_class=DynamicsError))
                for name, path in self._output.appended.items()
            }
            yield

    def append(self, name: str, data: bytes) -> None:
        """Let one of `RunFiles.appended` grow."""
        self._files[name].append(data)

    def log(self, sample: StepRecord) -> None:
        """Write the row of a step, if one is due; above the first, the names of columns."""
        if sample.step == 0:
            self.append("log", row_bytes(sample.columns))
        if sample.step % self._settings.log_interval == 0:
            self.append("log", row_bytes(sample.row()))

    def frame_is_due(self, step: int) -> bool:
        """Whether the trajectory gets a frame of a step."""
        return step % self._settings.frame_interval == 0

    def frame(self, atoms: Atoms, sample: StepRecord) -> None:
        """Write a frame."""
        self.append("trajectory", frame_bytes(atoms, step=sample.step, time_fs=sample.time))
        self.framed = sample.step

    def save(self, snapshot_of: Callable[[Marks], Snapshot]) -> None:
        """Write a checkpoint, once what was appended before is on the disk.

        Args:
            snapshot_of: makes it, given the marks of files.

        Raises:
            DynamicsError: the disk is full or the like; the old checkpoint is intact.
        """
        for file in self._files.values():
            file.sync()
        snapshot = snapshot_of({name: file.mark() for name, file in self._files.items()})
        save_snapshot(self._output.checkpoint, snapshot)
        self.saved = snapshot.step

    def stopped(self, step: int, reason: str) -> UnstableDynamicsError:
        """Say why a run cannot go on, near which step, and what there is of it."""
        frame = "none" if self.framed is None else f"step {self.framed}"
        return UnstableDynamicsError(
            f"The run stopped near step {step} ({step * self._settings.timestep:g} fs): {reason}. "
            f"All steps before it are kept. Last frame in {self._output.trajectory}: {frame}; "
            f"checkpoint: step {self.saved}."
        )
