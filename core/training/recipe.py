"""The recipe of a training run: everything that decides its outcome, as one TOML file."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from halocline.checkpoint.card import check_card
from halocline.errors import UsageError
from halocline.home import expanded
from halocline.typed_table import read_table

#: What the force error of an atom costs: the mean square of its components, or its length.
ForcesLoss = Literal["squares", "norms"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How many frames serve which purpose, drawn at random from all files together.

    Attributes:
        seed: of the draw.
        train: frames to fit.
        validation: frames whose errors are shown after every epoch.
        test: frames that are looked at once, at the end.
    """

    seed: int
    train: int
    validation: int
    test: int

    def __post_init__(self) -> None:
        if self.seed < 0 or self.train < 1 or self.validation < 1 or self.test < 0:
            raise UsageError("data.split needs a seed of at least 0, and frames to train and to validate.")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Labelled structures: ``files`` with a ``split``, or one list of files for each purpose.

    Paths are relative to the recipe; ``${NAME}`` stands for an environment variable.

    Attributes:
        files: extended-xyz files to split.
        split: how.
        train_files: files to fit.
        validation_files: files whose errors are shown after every epoch.
        test_files: files that are looked at once, at the end.
        energy_key: name of the energy; by default REF_energy, else what ASE takes for the calculator's.
        forces_key: name of the forces; by default REF_forces, else what ASE takes for the calculator's.
    """

    files: tuple[str, ...] = ()
    split: SplitSettings | None = None
    train_files: tuple[str, ...] = ()
    validation_files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    energy_key: str | None = None
    forces_key: str | None = None

    def __post_init__(self) -> None:
        together = bool(self.files) and self.split is not None
        apart = bool(self.train_files) and bool(self.validation_files)
        mixed = (self.files or self.split) and (self.train_files or self.validation_files or self.test_files)
        if together == apart or mixed:
            raise UsageError(
                "The data need either files and a table [data.split], or train_files and validation_files "
                "(and test_files)."
            )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Attributes: the name of a backbone, and its config. Species not given are taken from the training frames."""

    backbone: str
    config: dict[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Attributes of the fit.

    Attributes:
        epochs: times that every training frame is seen.
        batch_size: frames in one step.
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
    batch_size: int = 1
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
        self._check("at least 1", self.epochs >= 1, "epochs")
        self._check("at least 1", self.batch_size >= 1, "batch_size")
        self._check("at least 0", self.warmup_steps >= 0, "warmup_steps")
        self._check("at least 0", self.seed >= 0, "seed")
        for name in ("learning_rate", "gradient_clip"):
            self._check("positive and finite", 0.0 < getattr(self, name) < float("inf"), name)
        for name in ("energy_weight", "forces_weight"):
            self._check("finite and at least 0", 0.0 <= getattr(self, name) < float("inf"), name)
        weights = self.energy_weight + self.forces_weight
        self._check("positive, if forces_weight is not", weights > 0.0, "energy_weight")
        self._check("between 0 and 1", 0.0 <= self.final_fraction <= 1.0, "final_fraction")
        self._check("at least 0 and below 1", 0.0 <= self.ema_decay < 1.0, "ema_decay")

    def _check(self, rule: str, holds: bool, name: str) -> None:
        if not holds:
            raise UsageError(f"training.{name} must be {rule}, not {getattr(self, name)!r}.")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Attributes: the tables of the file. ``card`` describes the model to its users."""

    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    card: dict[str, Any] = field(default_factory=dict)

    def as_table(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return dataclasses.asdict(self)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UsageError: there is no such file, it is not TOML, or a key is unknown, missing or impossible.
        CheckpointError: a field of the card is unknown or of the wrong kind.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"The recipe {path} is not TOML: {error}.") from error
    recipe = read_table(Recipe, values, "")
    check_card(recipe.card)
    return recipe


def resolve(file: str, folder: Path) -> Path:
    """Where a data file of a recipe in ``folder`` is.

    Raises:
        UsageError: it names an environment variable that is not set, or a home folder that is not known.
    """
    path = os.path.expandvars(file)
    if "$" in path:
        raise UsageError(f"The data file {file!r} names an environment variable that is not set.")
    return folder / expanded(path, "The data file")
