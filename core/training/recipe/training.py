"""The table ``[training]``: how a model is fitted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, final

from halocline.errors import UsageError
from halocline.training.recipe.metric import Metric
from halocline.training.recipe.rules import is_name, require
from halocline.training.recipe.schedule import ScheduleSettings
from halocline.training.recipe.stopping import StoppingSettings
from halocline.training.recipe.weights import LARGEST_WEIGHT, Reweighting, Weights
from halocline.typed_table import settle_fields

#: What the error of a label costs: the mean square or absolute value of its components, Huber's cost of them, or
#: its length. An energy has one component.
LossKind = Literal["squares", "absolute", "huber", "norms"]

#: How much one step holds, in frames, atoms or edges; a recipe gives one of them.
BATCH_KEYS: Final = ("batch_size", "batch_atoms", "batch_edges")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Attributes of the fit.

    Attributes:
        epochs: times that every training frame is seen.
        batch_size: frames in one step; 1 unless one of the next two is given in its place.
        batch_atoms: the most atoms that one step has.
        batch_edges: the most edges of graphs that one step has, to which its time and memory are in proportion.
        optimizer: Adam, or AdamW, which decays weights beside the gradient.
        weight_decay: of matrices and tables; vectors, such as biases, do not decay.
        learning_rate: after the warm-up.
        warmup_steps: steps over which it rises from zero.
        final_fraction: of the learning rate, how far it falls; see `ScheduleSettings`.
        schedule: how it falls.
        rates: name of a stage, or of a weight in it → what its learning rate is multiplied by.
        freeze: names of stages, or of weights in them, that stay as they are.
        energy_loss: what the error of the energy of an atom costs.
        energy_weight: of the mean over frames; per (eV/atom)² of squares and Huber's, else per eV/atom.
        energy_huber: eV/atom, up to which Huber's cost is a square.
        forces_loss: what the error of the force on an atom costs.
        forces_weight: of the mean over atoms; per (eV/Å)² or eV/Å.
        forces_huber: eV/Å.
        stress_loss: what the error of the stress costs, of all nine components.
        stress_weight: of the mean over frames; per (eV/Å³)² or eV/Å³.
        stress_huber: eV/Å³.
        reweighting: other weights from some epoch on.
        ema_decay: of the exponential moving average of the weights, which is the model; 0 for none.
        validate: the weights that validation measures: the ``average``, or the ``latest``.
        gradient_clip: largest norm of the gradient, or absolute value of its components.
        clip_by: which of the two.
        stopping: which epoch is the last, and which one is kept.
        seed: of the initial weights and of the order of the data.
        precision: in which the network is trained.
    """

    epochs: int
    batch_size: int | None = None
    batch_atoms: int | None = None
    batch_edges: int | None = None
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    final_fraction: float = 0.01
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    rates: dict[str, Any] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    energy_loss: Literal["squares", "absolute", "huber"] = "squares"
    energy_weight: float = 100.0
    energy_huber: float = 0.01
    forces_loss: LossKind = "squares"
    forces_weight: float = 1.0
    forces_huber: float = 0.01
    stress_loss: LossKind = "squares"
    stress_weight: float = 0.0
    stress_huber: float = 1e-4
    reweighting: tuple[Reweighting, ...] = ()
    ema_decay: float = 0.999
    validate: Literal["average", "latest"] = "average"
    gradient_clip: float = 10.0
    clip_by: Literal["norm", "value"] = "norm"
    stopping: StoppingSettings = field(default_factory=StoppingSettings)
    seed: int = 0
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        settle_fields(self, "training")
        self._check_numbers()
        self._check_weights()
        for i, name in enumerate(self.freeze):
            require(is_name(name), f"training.freeze[{i}]", "the name of a stage or of a weight", name)
        for name, factor in self.rates.items():
            number = type(factor) in (int, float) and 0.0 < factor <= 1000.0
            rule = "above 0 and at most 1000 (a name with points needs quotation marks)"
            require(number, f"training.rates.{name}", rule, factor)
        exponential = self.schedule.kind == "exponential"
        self._check("positive for an exponential", self.final_fraction > 0.0 or not exponential, "final_fraction")
        late = [epoch for epoch in self.schedule.epochs if epoch > self.epochs]
        require(not late, "training.schedule.epochs", f"at most training.epochs = {self.epochs}", late)
        same = self.validate == "average" or self.stopping.keep == "last" or not self.ema_decay
        self._check("'average' where stopping.keep is 'best': the epoch is picked by the model", same, "validate")

    def weights(self, epoch: int) -> Weights:
        """Of the loss in an epoch, counted from 1."""
        weights = Weights(self.energy_weight, self.forces_weight, self.stress_weight)
        for change in self.reweighting:
            weights = change.applied(weights, epoch)
        return weights

    @property
    def fitted(self) -> Weights:
        """The largest weight that each label ever has; zero for what is not fitted."""
        turning = [1, *(change.epoch for change in self.reweighting), self.epochs]
        turning += [change.epoch + change.over - 1 for change in self.reweighting]
        return Weights(*map(max, zip(*(self.weights(min(epoch, self.epochs)) for epoch in turning), strict=True)))

    @property
    def metrics(self) -> dict[str, Metric]:
        """Key → metric, for those that steer the fit."""
        found: dict[str, Metric] = {}
        if self.schedule.kind == "plateau":
            found["training.schedule.metric"] = self.schedule.metric
        if self.stopping.decides:
            found["training.stopping.metric"] = self.stopping.metric
        return found

    def _check_numbers(self) -> None:
        self._check("at least 1", self.epochs >= 1, "epochs")
        self._settle_batch()
        self._check("at least 0", self.warmup_steps >= 0, "warmup_steps")
        self._check("at least 0", self.seed >= 0, "seed")
        self._check("at least 0 and finite", 0.0 <= self.weight_decay < float("inf"), "weight_decay")
        for name in ("learning_rate", "gradient_clip", *self._of_terms("huber")):
            self._check("positive and finite", 0.0 < getattr(self, name) < float("inf"), name)
        self._check("between 0 and 1", 0.0 <= self.final_fraction <= 1.0, "final_fraction")
        self._check("at least 0 and below 1", 0.0 <= self.ema_decay < 1.0, "ema_decay")

    def _settle_batch(self) -> None:
        given = [name for name in BATCH_KEYS if getattr(self, name) is not None]
        if len(given) > 1:
            keys = " and ".join(f"training.{name}" for name in given)
            raise UsageError(f"{keys} say the same thing, how much one step holds; keep one of them.")
        if not given:
            object.__setattr__(self, "batch_size", 1)
        for name in given:
            self._check("at least 1", getattr(self, name) >= 1, name)

    def _check_weights(self) -> None:
        for name in self._of_terms("weight"):
            allowed = 0.0 <= getattr(self, name) <= LARGEST_WEIGHT
            self._check(f"at least 0 and at most {LARGEST_WEIGHT:g}", allowed, name)
        changes = self.reweighting
        starts = [change.epoch for change in changes]
        ordered = all(a.epoch + a.over <= b.epoch for a, b in pairwise(changes))
        require(
            ordered, "training.reweighting", "in the order of epochs, each after the one before is over", starts
        )
        late = [epoch for epoch in starts if epoch > self.epochs]
        require(not late, "training.reweighting", f"of epochs up to training.epochs = {self.epochs}", late)

    def require_weight(self) -> None:
        """Refuse a loss that is nothing but zero, as it may be where there is a teacher.

        Raises:
            UsageError: no weight is positive.
        """
        ends = [1, *(change.epoch + change.over - 1 for change in self.reweighting)]
        rule = "positive, if no other weight of the loss is"
        self._check(rule, all(sum(self.weights(end)) > 0.0 for end in ends), "energy_weight")

    def _of_terms(self, what: str) -> Iterable[str]:
        return (f"{term}_{what}" for term in ("energy", "forces", "stress"))

    def _check(self, rule: str, holds: bool, name: str) -> None:
        require(holds, f"training.{name}", rule, getattr(self, name))
