"""A training run: epochs one after another, kept so that it can go on after any interruption."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch

from halocline.errors import TrainingError, UsageError
from halocline.files import write_atomically
from halocline.program import Precision
from halocline.training.errors import Errors, measure
from halocline.training.objective import predict
from halocline.training.problem import Problem
from halocline.training.samples import Batch, Sample
from halocline.training.state import TrainingState, load_state, previous_path, save_state
from halocline.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One line of ``metrics.csv``; validation errors are those of the averaged weights.

    Attributes:
        epoch: its number, from 1.
        loss: mean over the training steps.
        energy_mae: meV/atom, validation; None without energies.
        forces_mae: meV/Å, validation; None without forces.
        seconds: time of the epoch, validation included.
    """

    epoch: int
    loss: float
    energy_mae: float | None
    forces_mae: float | None
    seconds: float


@final
class Run:
    """A fit that keeps its state in a folder.

    Args:
        problem: what to fit.
        folder: for state, metrics and model; made if it is missing.
        fabric: device, precision and backward pass.
        resume: go on from the state in the folder.

    Raises:
        UsageError: there is a run in the folder already, or the recipe differs from that of the run to resume.
        TrainingError: there is nothing to resume, or the data differ.
    """

    def __init__(self, problem: Problem, folder: Path, fabric: Fabric, *, resume: bool) -> None:
        self.problem, self.folder = problem, folder
        self.state_file = folder / "state.safetensors"
        self.history: list[EpochRecord] = []
        self._fabric = fabric
        state = self._find_state(resume)
        self._validation = self._samples(problem.split.validation)
        self.trainer = Trainer(
            problem.backbone, self._samples(problem.split.train), problem.recipe.training, fabric
        )
        if state is not None:
            self.trainer.load(state.tensors)
            self.history = [EpochRecord(**record) for record in state.history]
        folder.mkdir(parents=True, exist_ok=True)

    def train(self, report: Callable[[EpochRecord], None]) -> None:
        """Run the epochs that are left. After each, the state is kept, then reported.

        Raises:
            TrainingError: the fit diverged, or the state cannot be written.
        """
        for epoch in range(len(self.history), self.problem.recipe.training.epochs):
            start = time.perf_counter()
            loss = self.trainer.run_epoch(epoch)
            errors = self.validate()
            self.history.append(
                EpochRecord(
                    epoch=epoch + 1,
                    loss=loss,
                    energy_mae=errors.energy_mae,
                    forces_mae=errors.forces_mae,
                    seconds=time.perf_counter() - start,
                )
            )
            self._keep()
            report(self.history[-1])

    def validate(self) -> Errors:
        """Errors of the averaged weights on the validation frames."""
        energies, forces, sizes = [], [], []
        for sample, frame in zip(self._validation, self.problem.split.validation, strict=True):
            batch = Batch([sample])
            energy, force = predict(self.trainer.average, batch)
            energies.append(float(energy) + self.problem.reference(frame))
            forces.append(force.cpu().numpy())
            sizes.append(len(force))
        frames = self.problem.split.validation
        references = [self.problem.reference(i) for i in frames]
        return measure([self.problem.labels[i] for i in frames], references, sizes, energies, forces)

    def _samples(self, frames: Sequence[int]) -> list[Sample]:
        problem = self.problem
        precision = Precision(problem.recipe.training.precision)
        hops, device = problem.backbone.hops, self._fabric.device
        return [
            Sample.make(problem.graphs[i], problem.labels[i], problem.reference(i), hops, precision, device)
            for i in frames
        ]

    def _find_state(self, resume: bool) -> TrainingState | None:
        there = self.state_file.exists() or previous_path(self.state_file).exists()
        if not resume:
            if there:
                raise UsageError(
                    f"{self.folder} holds a training run: continue it with --resume, or choose another --output."
                )
            return None
        state = load_state(self.state_file)
        # The card only describes: it may be improved after the fit.
        changed = _differences("", state.recipe | {"card": {}}, self.problem.recipe.as_table() | {"card": {}})
        if changed:
            raise UsageError(
                f"The run in {self.folder} was started with another recipe: {'; '.join(changed)}. "
                "Restore it, or start a new run in another --output."
            )
        if state.data != self.problem.digest:
            raise TrainingError(
                f"The run in {self.folder} was started with other structures or labels; restore the data files, "
                "or start a new run in another --output."
            )
        if state.threads != torch.get_num_threads():
            logger.warning(
                "This run was started with %d threads and goes on with %d: it will agree with an undisturbed run "
                "to rounding only, not bit by bit.",
                state.threads,
                torch.get_num_threads(),
            )
        return state

    def _keep(self) -> None:
        """Write state and metrics."""
        records = [asdict(record) for record in self.history]
        state = TrainingState(
            epoch=len(records),
            tensors=self.trainer.tensors(),
            recipe=self.problem.recipe.as_table(),
            data=self.problem.digest,
            threads=torch.get_num_threads(),
            history=records,
        )
        save_state(self.state_file, state)
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(EpochRecord)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        write_atomically(self.folder / "metrics.csv", text.getvalue().encode())


def _differences(key: str, before: Any, after: Any) -> list[str]:
    """The keys whose values differ, with both values. Tuples and lists are the same to JSON."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        return [
            line
            for name in names
            for line in _differences(f"{key}.{name}" if key else name, before.get(name), after.get(name))
        ]
    plain = list(after) if isinstance(after, tuple) else after
    return [] if before == plain else [f"{key} was {before!r}, now it is {plain!r}"]
