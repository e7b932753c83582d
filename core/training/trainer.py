"""The fit itself: steps of Adam, and the running average of the weights that becomes the model."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor

from halocline.aggregation import Form
from halocline.errors import TrainingError, UsageError
from halocline.model import Backbone
from halocline.program import Precision, Program
from halocline.training.objective import Objective
from halocline.training.recipe import TrainingSettings
from halocline.training.samples import Batch, Sample

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@final
class Trainer:
    """Trains a copy of a backbone.

    Everything that changes from step to step is in `tensors`; the rest follows from the number of the epoch.

    Args:
        backbone: with its initial weights.
        samples: the training frames.
        settings: of the fit.
        fabric: device, precision and backward pass.

    Raises:
        UsageError: the backbone has no weights.
        BackboneError: it cannot be evaluated on flat edges.
    """

    def __init__(
        self, backbone: Backbone, samples: Sequence[Sample], settings: TrainingSettings, fabric: Fabric
    ) -> None:
        if not any(True for _ in backbone.parameters()):
            raise UsageError(f"The backbone {backbone.name!r} has no weights; there is nothing to train.")
        precision = Precision(settings.precision)
        self.samples, self.settings, self._fabric = samples, settings, fabric
        self.average = Program.freeze(backbone, precision, Form.EDGES).backbone.to(fabric.device)
        self.model = copy.deepcopy(backbone).to(precision.torch)
        objective = Objective(self.model, settings.energy_weight, settings.forces_weight, settings.forces_loss)
        self._adam = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self._objective, self._optimizer = fabric.setup(objective, self._adam)

    @property
    def steps(self) -> int:
        """Steps in one epoch."""
        return math.ceil(len(self.samples) / self.settings.batch_size)

    def run_epoch(self, epoch: int) -> float:
        """See every training frame once.

        Args:
            epoch: its number, from 0.

        Returns:
            Mean loss over the steps, each before its step.

        Raises:
            TrainingError: the fit has diverged.
        """
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(len(self.samples))
        size = self.settings.batch_size
        losses = []
        for number in range(self.steps):
            batch = Batch([self.samples[i] for i in order[number * size : (number + 1) * size]])
            losses.append(self._step(epoch * self.steps + number, batch))
        return float(np.mean(losses))

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

    def _step(self, step: int, batch: Batch) -> float:
        rate = learning_rate(step, self.settings.epochs * self.steps, self.settings)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss = self._objective(batch)
        self._fabric.backward(loss)
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
        return float(loss.detach())

    def _update_average(self, step: int) -> None:
        """Exponential moving average, young at first, so that the initial weights are soon forgotten."""
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, weights in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(weights, 1.0 - decay)
            for kept, buffer in zip(self.average.buffers(), self.model.buffers(), strict=True):
                kept.copy_(buffer)


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
