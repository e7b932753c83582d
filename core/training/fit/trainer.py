"""The fit itself: steps of an optimizer, shared among ranks, and the average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor

from halocline.aggregation import Form
from halocline.errors import UsageError, within
from halocline.model import Backbone
from halocline.model.adapters import adapted, weights_in_use
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.training.deal import deal
from halocline.training.fit.fitter import Fitter, divergence, refuse_foreign
from halocline.training.fit.objective import NOTHING, UNTAUGHT, Objective
from halocline.training.fit.optimizer import FACTOR, make_optimizer
from halocline.training.fit.schedule import ema_decay, learning_rate
from halocline.training.memory import memory_advice
from halocline.training.parent import Replay
from halocline.training.recipe import AdapterSettings, TrainingSettings, Weights
from halocline.training.samples import Batches, LabelCounts, Sample
from halocline.training.state import below
from halocline.training.steps import NONE, Plan
from halocline.training.supply import in_steps
from halocline.training.team import Team

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@final
class Trainer(Fitter):
    """Trains a copy of a backbone, by torch in this process.

    Everything that changes from step to step is in `tensors`; the rest follows from the number of the epoch.

    Args:
        backbone: with its initial weights.
        samples: the training frames.
        batches: makes batches of them.
        settings: of the fit.
        fabric: device, precision and backward pass.
        team: the ranks that share each step; all have the same weights at all times.
        adapters: that are fitted in the place of weights.
        replay: which of the last samples each epoch sees; by default there are none.
        teaching: weights of the terms that compare with what a teacher says of the samples.

    Attributes:
        model: with the latest weights, or adapters beside them.
        average: with the exponential moving average of the weights that layers work with, adapters included.
        rate: learning rate of the last step.

    Raises:
        UsageError: the backbone has no weights, or none that may change, or a step has fewer frames than there are
            ranks.
        TrainingError: a frame alone is more than a step may hold.
        BackboneError: it cannot be evaluated on flat edges.
    """

    def __init__(
        self,
        backbone: Backbone,
        samples: Sequence[Sample],
        batches: Batches,
        settings: TrainingSettings,
        fabric: Fabric,
        team: Team,
        adapters: AdapterSettings | None = None,
        replay: Replay = NONE,
        teaching: Weights = UNTAUGHT,
    ) -> None:
        refuse_idle_ranks(settings, team.size)
        if not any(True for _ in backbone.parameters()):
            raise UsageError(f"The backbone {backbone.name!r} has no weights; there is nothing to train.")
        precision = Precision(settings.precision)
        self.samples, self.settings, self._fabric, self._team = samples, settings, fabric, team
        self._plan = Plan(samples, settings, replay)
        self._batches = batches
        self.average = FrozenModel.freeze(backbone, precision, Capabilities.reference(Form.EDGES)).backbone.to(
            fabric.device
        )
        self.model = _to_train(backbone, adapters, settings.seed).to(precision.torch)
        latest = weights_in_use(self.model)
        self._averaged = [(mean, latest[name]) for name, mean in self.average.named_parameters()]
        self._teaches = teaching != UNTAUGHT
        self.rate = 0.0
        self._adam, self._names = make_optimizer(self.model, settings)
        self._objective, self._optimizer = fabric.setup(Objective(self.model, settings, teaching), self._adam)

    def steps_before(self, epoch: int) -> int:
        """See `Fitter.steps_before`."""
        return self._plan.before(epoch)

    def run_epoch(self, epoch: int, at_step: Callable[[], bool], *, reductions: int = 0) -> float:
        """See every training frame once.

        Args:
            epoch: its number, from 0.
            at_step: called before every step; whether to stop there. If one rank says so, all do.
            reductions: of the learning rate, because of plateaus before this epoch.

        Returns:
            Mean loss over the steps, each before its step.

        Raises:
            TrainingError: the fit has diverged.
            LostRankError: another rank has ended, or does not answer.
            KeyboardInterrupt: on all ranks, if one of them was to stop.
        """
        first, weights = self._plan.before(epoch), self.settings.weights(epoch + 1)
        losses = []
        with closing(in_steps(self.samples, self._plan.steps(epoch))) as steps:
            for step, samples in enumerate(steps, first):
                self._set_rate(step, epoch, reductions)
                losses.append(self._step(step, samples, weights, at_step))
        total = torch.tensor(losses, dtype=torch.float64, device=self._fabric.device)
        self._team.sum(total)
        return float(np.mean(total.tolist()))

    def tensors(self) -> dict[str, Tensor]:
        """Weights, averaged weights and Adam's moments, by name."""
        moments = {
            f"adam.{self._names[index]}.{key}": tensor
            for index, entry in self._adam.state_dict()["state"].items()
            for key, tensor in entry.items()
        }
        model = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        average = {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return model | average | moments

    def load(self, tensors: dict[str, Tensor]) -> None:
        """See `Fitter.load`."""
        refuse_foreign(tensors, ("model", "average", "adam"))
        self.model.load_state_dict(below("model.", tensors))
        self.average.load_state_dict(below("average.", tensors))
        moments = {index: below(f"adam.{name}.", tensors) for index, name in enumerate(self._names)}
        used = {index: entry for index, entry in moments.items() if entry}
        self._adam.load_state_dict({**self._adam.state_dict(), "state": used})

    def _set_rate(self, step: int, epoch: int, reductions: int) -> None:
        self.rate = learning_rate(step, self._plan.total, self.settings, epoch=epoch + 1, reductions=reductions)
        for group in self._adam.param_groups:
            group["lr"] = self.rate * group[FACTOR]

    def _step(self, step: int, samples: Sequence[Sample], weights: Weights, at_step: Callable[[], bool]) -> float:
        """One step of the optimizer; returns what this rank adds to its loss."""
        stop = at_step()
        if stop and self._team.size == 1:
            raise KeyboardInterrupt
        self._optimizer.zero_grad()
        loss = self._backward(samples, weights, f"step {step}")
        if self._team.size > 1:
            self._add_up_gradients(stop)
        if not self._clip():
            raise divergence(step, self.settings)
        self._optimizer.step()
        self._update_average(step)
        return loss

    def _backward(self, samples: Sequence[Sample], weights: Weights, name: str) -> float:
        """Gradient of this rank's share of a step, which may be empty; returns the share of the loss.

        Raises:
            TrainingError: memory has run out.
        """
        share = deal([sample.cost for sample in samples], self._team.size)[self._team.rank]
        if not share:
            return 0.0
        mine = [samples[i] for i in share]
        with memory_advice(mine, self._batches.size, name):
            lessons = LabelCounts.of(sample.lesson for sample in samples) if self._teaches else NOTHING
            loss = self._objective(self._batches.of(mine), LabelCounts.of(samples), weights, lessons)
            if loss.requires_grad:  # isolated atoms reach no weight of a layer, and the others may be frozen
                self._fabric.backward(loss)
        return float(loss.detach())

    def _clip(self) -> bool:
        """Limit the gradient; returns whether it was finite."""
        largest = self.settings.gradient_clip
        if self.settings.clip_by == "value":
            norm = torch.nn.utils.get_total_norm([w.grad for w in self._moving if w.grad is not None])
            self._fabric.clip_gradients(self._objective, self._optimizer, clip_val=largest)
            return bool(torch.isfinite(norm))
        clipped = self._fabric.clip_gradients(
            self._objective, self._optimizer, max_norm=largest, error_if_nonfinite=False
        )
        return clipped is not None and bool(torch.isfinite(clipped))

    def _add_up_gradients(self, stop: bool) -> None:
        """Give every rank the gradient of the whole step, in one message.

        DistributedDataParallel would average instead, expect a share for every rank, and add up in another order
        after its first step, so that a resumed run would differ.

        Raises:
            KeyboardInterrupt: a rank was to stop.
        """
        weights = self._moving
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        joined = torch.cat([*(each.flatten() for each in gradients), gradients[0].new_full((1,), stop)])
        self._team.sum(joined)
        *parts, stops = torch.split(joined, [*(w.numel() for w in weights), 1])
        if float(stops) > 0.0:
            raise KeyboardInterrupt
        for w, part in zip(weights, parts, strict=True):
            w.grad = part.view_as(w)

    @property
    def _moving(self) -> list[Tensor]:
        """The weights that the optimizer changes."""
        return [weights for group in self._adam.param_groups for weights in group["params"]]

    def _update_average(self, step: int) -> None:
        decay = ema_decay(step, self.settings)
        with torch.no_grad():
            for mean, latest in self._averaged:
                mean.lerp_(latest(), 1.0 - decay)
            for kept, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
                kept.copy_(buffer)


def _to_train(backbone: Backbone, adapters: AdapterSettings | None, seed: int) -> Backbone:
    """The copy that is trained."""
    if adapters is None:
        return copy.deepcopy(backbone)
    with within("model.adapters"):
        return adapted(backbone, adapters.rank, alpha=adapters.alpha, seed=seed, full=adapters.full)


def refuse_idle_ranks(settings: TrainingSettings, ranks: int) -> None:
    """A rank without a frame in any step would only wait.

    Raises:
        UsageError: a step has fewer frames than there are ranks.
    """
    if settings.batch_size is not None and settings.batch_size < ranks:
        raise UsageError(
            f"A step of training.batch_size = {settings.batch_size} frames cannot be shared by {ranks} ranks; "
            "use fewer ranks, or a larger batch."
        )
