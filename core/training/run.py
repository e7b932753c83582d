"""A training run: epochs one after another, kept so that it can go on after any interruption."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import torch
from torch import Tensor

import halocline
from halocline.data.labels import Labels
from halocline.digests import tensors_digest
from halocline.errors import TrainingError, UsageError
from halocline.files import newest, write_atomically
from halocline.program import Precision
from halocline.training.agreement import refuse_disagreement
from halocline.training.distillation import taught_labels
from halocline.training.fit import progress
from halocline.training.fit.fitter import Fitter, MakeFitter
from halocline.training.fit.objective import UNTAUGHT
from halocline.training.fit.trainer import Trainer
from halocline.training.folder import METRICS_FILE
from halocline.training.problem import Problem
from halocline.training.recipe import Metric, make_recipe
from halocline.training.samples import Batches, Sample
from halocline.training.state import STATE_FILE, TrainingState, below, load_state, save_state
from halocline.training.steps import StepSize
from halocline.training.supply import MadeWhenAsked
from halocline.training.team import Team
from halocline.training.validation import Validation
from halocline.typed_table import differences

if TYPE_CHECKING:
    from lightning_fabric import Fabric

#: Before the names of the weights of the best epoch, in the state.
BEST: Final = "best."

logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One line of ``metrics.csv``; validation errors are those of the weights that ``training.validate`` names.

    Attributes:
        epoch: its number, from 1.
        loss: mean over the training steps.
        validation_loss: None without validation frames, or in records of older releases, as with all that follow.
        energy_mae: meV/atom, validation; None without validation frames that have energies.
        energy_rmse: meV/atom.
        forces_mae: meV/Å, validation; None without validation frames that have forces.
        forces_rmse: meV/Å.
        stress_mae: meV/Å³, validation; None without validation frames that have a stress.
        stress_rmse: meV/Å³.
        learning_rate: of the last step.
        seconds: time of the epoch, validation included.
    """

    epoch: int
    loss: float
    validation_loss: float | None = None
    energy_mae: float | None
    energy_rmse: float | None = None
    forces_mae: float | None
    forces_rmse: float | None = None
    stress_mae: float | None = None
    stress_rmse: float | None = None
    learning_rate: float | None = None
    seconds: float


@final
class TrainingRun:
    """A fit that keeps its state in a folder.

    Args:
        problem: what to fit.
        folder: for state, metrics and model; made if it is missing.
        fabric: device, precision and backward pass.
        resume: go on from the state in the folder.
        team: the ranks that share the work, by default this process alone. Only the first writes.
        make_fitter: of what fits in the place of torch; it has no ranks.

    Raises:
        UsageError: there is a run in the folder already, or the recipe differs from that of the run to resume.
        TrainingError: there is nothing to resume, the data differ, or the ranks do not agree.
    """

    def __init__(
        self,
        problem: Problem,
        folder: Path,
        fabric: Fabric,
        *,
        resume: bool,
        team: Team | None = None,
        make_fitter: MakeFitter | None = None,
    ) -> None:
        self.problem, self.folder = problem, folder
        self.state_file = folder / STATE_FILE
        self.history: list[EpochRecord] = []
        self._fabric, self._team = fabric, team or Team()
        state = self._find_state(resume)
        if self._team.size > 1:  # before anything is added up that may have other shapes elsewhere
            refuse_disagreement(self._team, self._inputs(), fabric.device)
        folder.mkdir(parents=True, exist_ok=True)
        settings = problem.recipe.training
        batches = Batches(
            StepSize.of(settings),
            problem.backbone.hops,
            Precision(settings.precision),
            fabric.device,
            keep=not problem.frames.packed,
        )
        self._validation = Validation(
            problem, self._samples(problem.split.validation), batches, fabric.device, self._team
        )
        samples = self._samples(problem.split.seen, taught_labels(problem, folder, fabric.device, self._team))
        distillation = problem.recipe.distillation
        self.trainer: Fitter = (
            make_fitter(problem, samples)
            if make_fitter is not None
            else Trainer(
                problem.backbone,
                samples,
                batches,
                settings,
                fabric,
                self._team,
                adapters=problem.recipe.model.adapters,
                replay=problem.replay,
                teaching=UNTAUGHT if distillation is None else distillation.weights,
            )
        )
        self._best: dict[str, Tensor] = {}
        if state is not None:
            self.trainer.load({k: tensor for k, tensor in state.tensors.items() if not k.startswith(BEST)})
            self.history = [EpochRecord(**record) for record in state.history]
            self._best = below(BEST, state.tensors)
        if self._team.size > 1:
            refuse_disagreement(self._team, self._facts(), fabric.device)

    def train(self, report: Callable[[EpochRecord], None], at_step: Callable[[], bool] = lambda: False) -> None:
        """Run the epochs that are left. After each, the first rank keeps the state, then reports.

        Args:
            report: takes what is known of an epoch.
            at_step: called before every step; whether to stop there. If one rank says so, all do.

        Raises:
            TrainingError: the fit diverged, or the state cannot be written.
            LostRankError: another rank has ended, or does not answer.
            KeyboardInterrupt: a rank was to stop.
        """
        while not self.is_over:
            self.history.append(self._run_epoch(at_step))
            if self._keeps_best and self.best_epoch == len(self.history):
                self._best = {name: each.clone() for name, each in self.trainer.average.state_dict().items()}
            if self._team.is_first:
                self._keep()
                report(self.history[-1])

    @property
    def is_over(self) -> bool:
        """Whether the last epoch is done: that of the recipe, or an earlier one that stopped the fit."""
        settings = self.problem.recipe.training
        done = len(self.history) >= settings.epochs
        return done or progress.is_over(self._metrics(settings.stopping.metric), settings)

    @property
    def best_epoch(self) -> int | None:
        """The number, from 1, of the best epoch by the metric for stopping; None if it was never a number."""
        return progress.best_epoch(self._metrics(self.problem.recipe.training.stopping.metric))

    @property
    def model_epoch(self) -> int:
        """The number, from 1, of the epoch whose weights are the model: the last or the best."""
        return (self.best_epoch if self._keeps_best else None) or len(self.history)

    def model_weights(self) -> dict[str, Tensor]:
        """The weights that are the model, by name: the average, after the last or the best epoch."""
        return self._best or self.trainer.average.state_dict()

    @property
    def _keeps_best(self) -> bool:
        return self.problem.recipe.training.stopping.keep == "best"

    def _run_epoch(self, at_step: Callable[[], bool]) -> EpochRecord:
        start = time.perf_counter()
        settings = self.problem.recipe.training
        plateaus = settings.schedule.kind == "plateau"
        reductions = progress.reductions(self._metrics(settings.schedule.metric), settings) if plateaus else 0
        loss = self.trainer.run_epoch(len(self.history), at_step, reductions=reductions)
        measured = self.trainer.average if settings.validate == "average" else self.trainer.model
        errors, validation_loss = self._validation.measure(measured)
        return EpochRecord(
            epoch=len(self.history) + 1,
            loss=loss,
            validation_loss=validation_loss,
            energy_mae=errors.energy_mae,
            energy_rmse=errors.energy_rmse,
            forces_mae=errors.forces_mae,
            forces_rmse=errors.forces_rmse,
            stress_mae=errors.stress_mae,
            stress_rmse=errors.stress_rmse,
            learning_rate=self.trainer.rate,
            seconds=time.perf_counter() - start,
        )

    def _metrics(self, metric: Metric) -> list[float]:
        """A metric of all epochs that are done; not a number where it is not known."""
        values = [getattr(record, metric) for record in self.history]
        return [float("nan") if value is None else value for value in values]

    def _samples(self, frames: Sequence[int], taught: Mapping[int, Labels] | None = None) -> Sequence[Sample]:
        made = MadeWhenAsked(self.problem, frames, taught or {})
        return made if self.problem.frames.packed else list(made)

    def _find_state(self, resume: bool) -> TrainingState | None:
        if not resume:
            if newest(self.state_file):
                raise UsageError(
                    f"{self.folder} holds a training run: continue it with --resume, or choose another --output."
                )
            return None
        state = load_state(self.state_file)
        earlier = make_recipe(state.recipe | {"card": {}}).outcome()  # keys that are newer have their defaults
        changed = differences(earlier, self.problem.recipe.outcome())
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
        if state.parent != self.problem.parent_digest:
            raise TrainingError(
                f"The run in {self.folder} was started from another model than {self.problem.recipe.model.from_} "
                "is now; restore its file, or start a new run in another --output."
            )
        if state.teacher != self._teacher_digest:
            raise TrainingError(
                f"The run in {self.folder} was started with another teacher than it has now; restore its file, or "
                "start a new run in another --output."
            )
        before, now = (state.ranks, state.threads), (self._team.size, torch.get_num_threads())
        if before != now and self._team.is_first:
            logger.warning(
                "This run was started with %d ranks of %d threads and goes on with %d of %d: it will agree with "
                "an undisturbed run to rounding only, not bit by bit.",
                *before,
                *now,
            )
        return state

    @property
    def _teacher_digest(self) -> str:
        return "" if self.problem.teacher is None else self.problem.teacher.digest

    def _inputs(self) -> dict[str, str]:
        """What must be the same on all ranks before any of them computes."""
        return {
            "versions": f"{halocline.__version__} {torch.__version__}",
            "recipe": repr(self.problem.recipe),
            "data": self.problem.digest,
            "parent": self.problem.parent_digest,
            "teacher": self._teacher_digest,
        }

    def _facts(self) -> dict[str, str]:
        """What must be the same on all ranks before the first step."""
        return {"weights": tensors_digest(self.trainer.tensors().items(), str(len(self.history)))}

    def _keep(self) -> None:
        """Write state and metrics."""
        records = [asdict(record) for record in self.history]
        state = TrainingState(
            epoch=len(records),
            tensors=self.trainer.tensors() | {BEST + name: each for name, each in self._best.items()},
            recipe=self.problem.recipe.as_table(),
            data=self.problem.digest,
            threads=torch.get_num_threads(),
            history=records,
            ranks=self._team.size,
            parent=self.problem.parent_digest,
            teacher=self._teacher_digest,
        )
        save_state(self.state_file, state)
        text = io.StringIO()
        columns = [*(field.name for field in fields(EpochRecord)), "validation_frames"]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        validated = len(self.problem.split.validation)
        writer.writerows(record | {"validation_frames": validated} for record in records)
        write_atomically(self.folder / METRICS_FILE, text.getvalue().encode())
