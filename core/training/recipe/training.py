"""The table ``[training]``: how a model is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

from halocline.errors import UsageError
from halocline.training.recipe.rules import require
from halocline.typed_table import settle_fields

#: What the force error of an atom costs: the mean square of its components, or its length.
ForcesLoss = Literal["squares", "norms"]

#: How much one step holds, in frames, atoms or edges; a recipe gives one of them.
BATCH_KEYS: Final = ("batch_size", "batch_atoms", "batch_edges")

#: Of a term of the loss. Its gradient stays far below what float32 holds for every fit that could succeed.
LARGEST_WEIGHT: Final = 1e12


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Attributes of the fit.

    Attributes:
        epochs: times that every training frame is seen.
        batch_size: frames in one step; 1 unless one of the next two is given in its place.
        batch_atoms: the most atoms that one step has.
        batch_edges: the most edges of graphs that one step has, to which its time and memory are in proportion.
        learning_rate: of Adam, after the warm-up.
        warmup_steps: steps over which it rises from zero.
        final_fraction: of the learning rate, reached along a cosine at the last step.
        energy_weight: of the mean squared energy error, in (eV/atom)².
        forces_loss: ``squares``, of the components, in (eV/Å)²; or ``norms``, the lengths of the errors, in eV/Å,
            which lowers mean absolute errors.
        forces_weight: of the mean loss of the forces.
        ema_decay: of the exponential moving average of the weights, which is the model in the end.
        gradient_clip: largest norm of the gradient.
        seed: of the initial weights and of the order of the data.
        precision: in which the network is trained.
    """

    epochs: int
    batch_size: int | None = None
    batch_atoms: int | None = None
    batch_edges: int | None = None
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    final_fraction: float = 0.01
    energy_weight: float = 100.0
    forces_loss: ForcesLoss = "squares"
    forces_weight: float = 1.0
    ema_decay: float = 0.999
    gradient_clip: float = 10.0
    seed: int = 0
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        settle_fields(self, "training")
        self._check("at least 1", self.epochs >= 1, "epochs")
        self._settle_batch()
        self._check("at least 0", self.warmup_steps >= 0, "warmup_steps")
        self._check("at least 0", self.seed >= 0, "seed")
        for name in ("learning_rate", "gradient_clip"):
            self._check("positive and finite", 0.0 < getattr(self, name) < float("inf"), name)
        for name in ("energy_weight", "forces_weight"):
            allowed = 0.0 <= getattr(self, name) <= LARGEST_WEIGHT
            self._check(f"at least 0 and at most {LARGEST_WEIGHT:g}", allowed, name)
        weights = self.energy_weight + self.forces_weight
        self._check("positive, if forces_weight is not", weights > 0.0, "energy_weight")
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

    def _check(self, rule: str, holds: bool, name: str) -> None:
        require(holds, f"training.{name}", rule, getattr(self, name))
