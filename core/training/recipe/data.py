"""The tables ``[data]`` and ``[data.split]``: labelled structures, and which serve what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from halocline.errors import UsageError, within
from halocline.structures.units import ForcesAre, Units, stated_units
from halocline.training.recipe.replay import ReplaySettings
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
    """Labelled structures: ``files`` with a ``split`` or ``split_files``, or one list of files for each purpose.

    Paths are relative to the recipe; ``${NAME}`` stands for an environment variable.

    Attributes:
        files: to split, of any kind that `halocline.data.frames` reads.
        split: how they are split at random.
        split_files: or for each of the files which of its frames serve what; see `halocline.data.indices`.
        train_files: files to fit.
        validation_files: files whose errors are shown after every epoch; by default none.
        test_files: files that are looked at once, at the end.
        unlabelled_files: files of structures that are fitted to what a teacher says; labels in them are not read.
        energy_key: name of the energy; by default REF_energy, else what ASE takes for the calculator's.
        forces_key: name of the forces; by default REF_forces, else what ASE takes for the calculator's.
        stress_key: name of the stress or virial; by default REF_stress, else what ASE takes, else a virial.
            Without it a stress is read only if it has weight or is a metric.
        energy_unit: of the files, one of `halocline.structures.units.ENERGIES`; by default that of their formats.
        length_unit: of the files, one of `halocline.structures.units.LENGTHS`; likewise.
        forces_are: whether the files have forces, or gradients of the energy; likewise.
        replay: frames of the parent's data that are seen beside those of the files.
    """

    files: tuple[str, ...] = ()
    split: SplitSettings | None = None
    split_files: tuple[str, ...] = ()
    train_files: tuple[str, ...] = ()
    validation_files: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()
    unlabelled_files: tuple[str, ...] = ()
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    energy_unit: str | None = None
    length_unit: str | None = None
    forces_are: ForcesAre | None = None
    replay: ReplaySettings | None = None

    def __post_init__(self) -> None:
        settle_fields(self, "data")
        for name in ("files", "split_files", "train_files", "validation_files", "test_files", "unlabelled_files"):
            for i, file in enumerate(getattr(self, name)):
                require(is_name(file), f"data.{name}[{i}]", "the path of a file", file)
        for name in ("energy_key", "forces_key", "stress_key"):
            key = getattr(self, name)
            require(key is None or is_name(key), f"data.{name}", "the name of a label", key)
        with within("data"):
            self.units  # noqa: B018  # refuses what is no unit
        self._check_purposes()

    @property
    def units(self) -> Units | None:
        """Of the files; None if nothing was said, so that each is in the units of its format."""
        return stated_units(self.energy_unit, self.length_unit, self.forces_are)

    def _check_purposes(self) -> None:
        drawn, listed, apart = self.split is not None, bool(self.split_files), bool(self.train_files)
        parted = apart or bool(self.validation_files or self.test_files)
        if drawn + listed + apart != 1 or bool(self.files) == parted:
            raise UsageError(
                "The data need either data.files with a table [data.split] or with data.split_files, or "
                "data.train_files (with data.validation_files and data.test_files, if there are such sets)."
            )
        if listed and len(self.split_files) != len(self.files):
            raise UsageError(
                f"data.split_files must have one file for each of data.files: there are {len(self.split_files)} "
                f"for {len(self.files)}."
            )
