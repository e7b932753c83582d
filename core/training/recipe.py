"""The recipe of a training run: everything that decides its outcome, as one TOML file."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from ase.data import atomic_numbers

from halocline.cache import expanded
from halocline.canonical import to_canonical_json
from halocline.checkpoint.card import check_card
from halocline.errors import UsageError, within
from halocline.typed_table import read_table, settle_fields, shown

#: What the force error of an atom costs: the mean square of its components, or its length.
ForcesLoss = Literal["squares", "norms"]

#: Bytes of a recipe: four times what a model file has room for beside its weights.
LARGEST_FILE = 2**22

#: Of a term of the loss. Its gradient stays far below what float32 holds for every fit that could succeed.
LARGEST_WEIGHT = 1e12

#: Fields of the card that training measures; what a recipe would say in their place could only be wrong.
_MEASURED = ("errors", "recipe", "units", "shortest_distances", "neighbours")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSettings:
    """How many frames serve which purpose, drawn at random from all files together.

    Attributes:
        seed: of the draw.
        train: frames to fit.
        validation: frames whose errors are shown after every epoch; by default none.
        test: frames that are looked at once, at the end; by default none.
        duplicates: ``refuse`` a structure that is drawn into two sets, or ``group`` all its frames into one.
    """

    seed: int
    train: int
    validation: int = 0
    test: int = 0
    duplicates: Literal["refuse", "group"] = "refuse"

    def __post_init__(self) -> None:
        settle_fields(self, "data.split")
        for name, least in (("seed", 0), ("train", 1), ("validation", 0), ("test", 0)):
            value = getattr(self, name)
            _require(value >= least, f"data.split.{name}", f"at least {least}", value)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """Labelled structures: ``files`` with a ``split``, or one list of files for each purpose.

    Paths are relative to the recipe; ``${NAME}`` stands for an environment variable.

    Attributes:
        files: extended-xyz files to split.
        split: how.
        train_files: files to fit.
        validation_files: files whose errors are shown after every epoch; by default none.
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
        settle_fields(self, "data")
        for name in ("files", "train_files", "validation_files", "test_files"):
            for i, file in enumerate(getattr(self, name)):
                _require(_is_name(file), f"data.{name}[{i}]", "the path of a file", file)
        for name in ("energy_key", "forces_key"):
            key = getattr(self, name)
            _require(key is None or _is_name(key), f"data.{name}", "the name of a label", key)
        together = bool(self.files) and self.split is not None
        apart = bool(self.train_files)
        mixed = (self.files or self.split) and (self.train_files or self.validation_files or self.test_files)
        if together == apart or mixed:
            raise UsageError(
                "The data need either data.files and a table [data.split], or data.train_files "
                "(with data.validation_files and data.test_files, if there are such sets)."
            )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Attributes: the name of a backbone, and its config. Species not given are taken from the training frames."""

    backbone: str
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_fields(self, "model")
        _check_plain(self.config, "model.config")
        if "species" in self.config:
            species = self.config["species"]
            symbols = isinstance(species, list | tuple) and all(_is_symbol(each) for each in species)
            rule = "a list of different chemical symbols, such as ['H', 'O']"
            distinct = symbols and 0 < len(species) == len(set(species))
            _require(distinct, "model.config.species", rule, species)


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
        settle_fields(self, "training")
        self._check("at least 1", self.epochs >= 1, "epochs")
        self._check("at least 1", self.batch_size >= 1, "batch_size")
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

    def _check(self, rule: str, holds: bool, name: str) -> None:
        _require(holds, f"training.{name}", rule, getattr(self, name))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Attributes: the tables of the file. ``card`` describes the model to its users."""

    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_fields(self, "recipe")
        check_card(self.card)
        for name in _MEASURED:
            if name in self.card:
                raise UsageError(f"card.{name} is what training itself finds out; leave it out of the recipe.")
        _check_plain(self.card, "card")

    def as_table(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Check the tables of a recipe, as TOML or JSON has them.

    Raises:
        UsageError: a key is unknown, missing or impossible.
        CheckpointError: a field of the card is unknown or of the wrong kind.
    """
    return read_table(Recipe, values, "")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UsageError: there is no such file, it is not TOML, or a key is unknown, missing or impossible.
        CheckpointError: a field of the card is unknown or of the wrong kind.
    """
    with within(str(path)):
        return make_recipe(_parse(_read_bytes(path)))


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe might never end
            what = "it is a folder, a pipe or a device" if path.exists() else "there is no such file"
            raise UsageError(f"A recipe is a file of TOML, but {what}.")
        with path.open("rb") as stream:
            data = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"The recipe cannot be read: {error.strerror}.") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"A recipe has at most {LARGEST_FILE} bytes, and this file is larger; is it the data?")
    return data


def _parse(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # editors put byte order marks in front
    except UnicodeDecodeError as error:
        raise UsageError(f"The recipe is not UTF-8 text (byte {error.start}); save it as such.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The recipe is not TOML: {error}.") from error
    except RecursionError as error:
        raise UsageError("The recipe is nested too deeply for any that means something.") from error
    except ValueError as error:  # what Python says of numbers that are too long for it
        raise UsageError("The recipe has a number of thousands of digits, or no date of the calendar.") from error


def resolve(file: str, folder: Path) -> Path:
    """Where a data file of a recipe in ``folder`` is.

    Raises:
        UsageError: it names an environment variable that is not set, or a home folder that is not known.
    """
    path = os.path.expandvars(file)
    if "$" in path:
        found = re.search(r"\$\{?(\w+)", path)
        variable = f" {found[1]}" if found else ""
        raise UsageError(f"The data file {file!r} names an environment variable{variable} that is not set.")
    return folder / expanded(path, "The data file")


def _require(holds: bool, key: str, rule: str, value: Any) -> None:
    if not holds:
        raise UsageError(f"{key} must be {rule}, not {shown(value)}.")


def _is_name(text: str) -> bool:
    """Whether text can be a path or the name of a label: not empty, without NUL, and Unicode."""
    return bool(text.strip()) and "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _is_symbol(value: Any) -> bool:
    return isinstance(value, str) and atomic_numbers.get(value, 0) > 0


def _check_plain(table: Mapping[str, Any], where: str) -> None:
    """Refuse what a model file cannot hold, by key: dates, and numbers that are not finite, say."""
    for key, value in table.items():
        try:
            to_canonical_json({key: value})
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{where}.{key} cannot be kept in a model: {error}. Text, finite numbers, "
                "true, false, and lists and tables of these can."
            ) from error
