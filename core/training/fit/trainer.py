"""The fit itself: steps of Adam, shared among ranks, and the average of the weights that becomes the model."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor

from halocline.aggregation import Form
from halocline.errors import TrainingError, UsageError
from halocline.model import Backbone
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.training.deal import deal
from halocline.training.fit.objective import Objective
from halocline.training.memory import memory_advice
from halocline.training.recipe import TrainingSettings
from halocline.training.samples import Batches, LabelCounts, Sample
from halocline.training.steps import Plan
from halocline.training.team import Team

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@final
class Trainer:
    """Trains a copy of a backbone.

    Everything that changes from step to step is in `tensors`; the rest follows from the number of the epoch.

    Args:
        backbone: with its initial weights.
        samples: the training frames.
        batches: makes batches of them.
        settings: of the fit.
        fabric: device, precision and backward pass.
        team: the ranks that share each step; all have the same weights at all times.

    Raises:
        UsageError: the backbone has no weights, or a step has fewer frames than there are ranks.
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
    ) -> None:
        refuse_idle_ranks(settings, team.size)
        if not any(True for _ in backbone.parameters()):
            raise UsageError(f"The backbone {backbone.name!r} has no weights; there is nothing to train.")
        precision = Precision(settings.precision)
        self.samples, self.settings, self._fabric, self._team = samples, settings, fabric, team
        self._plan = Plan(samples, settings)
        self._batches = batches
        self.average = FrozenModel.freeze(backbone, precision, Capabilities.reference(Form.EDGES)).backbone.to(
            fabric.device
        )
        self.model = copy.deepcopy(backbone).to(precision.torch)
        objective = Objective(self.model, settings.energy_weight, settings.forces_weight, settings.forces_loss)
        self._adam = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self._objective, self._optimizer = fabric.setup(objective, self._adam)

    def steps_before(self, epoch: int) -> int:
        """How many steps have been taken when an epoch begins; of all epochs, how many there are."""
        return self._plan.before(epoch)

    def run_epoch(self, epoch: int, at_step: Callable[[], bool]) -> float:
        """See every training frame once.

        Args:
            epoch: its number, from 0.
            at_step: called before every step; whether to stop there. If one rank says so, all do.

        Returns:
            Mean loss over the steps, each before its step.

        Raises:
            TrainingError: the fit has diverged.
            LostRankError: another rank has ended, or does not answer.
            KeyboardInterrupt: on all ranks, if one of them was to stop.
        """
        first = self._plan.before(epoch)
        losses = [
            self._step(first + number, [self.samples[i] for i in frames], at_step)
            for number, frames in enumerate(self._plan.steps(epoch))
        ]
        total = torch.tensor(losses, dtype=torch.float64, device=self._fabric.device)
        self._team.sum(total)
        return float(np.mean(total.tolist()))

    def tensors(self) -> dict[str, Tensor]:
        """Weights, averaged weights and Adam's moments, by name."""
        names = [name for name, _ in self.model.named_parameters()]
        moments = {
            f"adam.{names[index]}.{key}": tensor
            for index, entry in self._adam.state_dict()["state"].items()
            for key, tensor in entry.items()
        }
        model = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        average = {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return model | average | moments

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go back to what `tensors` returned."""
        self.model.load_state_dict(_below("model.", tensors))
        self.average.load_state_dict(_below("average.", tensors))
        names = [name for name, _ in self.model.named_parameters()]
        moments = {index: _below(f"adam.{name}.", tensors) for index, name in enumerate(names)}
        used = {index: entry for index, entry in moments.items() if entry}
        self._adam.load_state_dict({**self._adam.state_dict(), "state": used})

    def _step(self, step: int, samples: Sequence[Sample], at_step: Callable[[], bool]) -> float:
        """One step of Adam; returns what this rank adds to its loss."""
        stop = at_step()
        if stop and self._team.size == 1:
            raise KeyboardInterrupt
        rate = learning_rate(step, self._plan.total, self.settings)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss = self._backward(samples, f"step {step}")
        if self._team.size > 1:
            self._add_up_gradients(stop)
        norm = self._fabric.clip_gradients(
            self._objective, self._optimizer, max_norm=self.settings.gradient_clip, error_if_nonfinite=False
        )
        if norm is None or not torch.isfinite(norm):
            raise TrainingError(
                f"The fit diverged at step {step}: the gradient is not finite. Lower training.learning_rate "
                f"({self.settings.learning_rate:g}) or training.gradient_clip ({self.settings.gradient_clip:g})."
            )
        self._optimizer.step()
        self._update_average(step)
        return loss

    def _backward(self, samples: Sequence[Sample], name: str) -> float:
        """Gradient of this rank's share of a step, which may be empty; returns the share of the loss.

        Raises:
            TrainingError: memory has run out.
        """
        share = deal([sample.cost for sample in samples], self._team.size)[self._team.rank]
        if not share:
            return 0.0
        mine = [samples[i] for i in share]
        with memory_advice(mine, self._batches.size, name):
            loss = self._objective(self._batches.of(mine), LabelCounts.of(samples))
            self._fabric.backward(loss)
        return float(loss.detach())

    def _add_up_gradients(self, stop: bool) -> None:
        """Give every rank the gradient of the whole step, in one message.

        DistributedDataParallel would average instead, expect a share for every rank, and add up in another order
        after its first step, so that a resumed run would differ.

        Raises:
            KeyboardInterrupt: a rank was to stop.
        """
        weights = list(self.model.parameters())
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        joined = torch.cat([*(each.flatten() for each in gradients), gradients[0].new_full((1,), stop)])
        self._team.sum(joined)
        *parts, stops = torch.split(joined, [*(w.numel() for w in weights), 1])
        if float(stops) > 0.0:
            raise KeyboardInterrupt
        for w, part in zip(weights, parts, strict=True):
            w.grad = part.view_as(w)

    def _update_average(self, step: int) -> None:
        """Exponential moving average, young at first, so that the initial weights are soon forgotten."""
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, weights in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(weights, 1.0 - decay)
            for kept, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
                kept.copy_(buffer)


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


def learning_rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """The rate of one step: a linear warm-up, then half a cosine down to the final fraction.

    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, eq. 5.
    """
    warmup = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    progress = max(0, step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return settings.learning_rate * warmup * (settings.final_fraction + (1.0 - settings.final_fraction) * cosine)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
