"""The tables ``[data]`` and ``[data.split]``: labelled structures, and which serve what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from halocline.errors import UsageError
from halocline.training.recipe.rules import is_name, require
from halocline.typed_table import settle_fields


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
            require(value >= least, f"data.split.{name}", f"at least {least}", value)


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
                require(is_name(file), f"data.{name}[{i}]", "the path of a file", file)
        for name in ("energy_key", "forces_key"):
            key = getattr(self, name)
            require(key is None or is_name(key), f"data.{name}", "the name of a label", key)
        together = bool(self.files) and self.split is not None
        apart = bool(self.train_files)
        mixed = (self.files or self.split) and (self.train_files or self.validation_files or self.test_files)
        if together == apart or mixed:
            raise UsageError(
                "The data need either data.files and a table [data.split], or data.train_files "
                "(with data.validation_files and data.test_files, if there are such sets)."
            )
