"""Reference energies, forces and stress of frames, under the keys that files call them by."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, final, overload

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from halocline.data.chained import Chained
from halocline.data.frames import Frame, Frames, PackedFrames
from halocline.errors import TrainingError
from halocline.structures.units import EV_ANGSTROM, Units
from halocline.structures.unused import is_of_structure

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.structures.packed import PackedFile

_LOG = logging.getLogger(__name__)

#: eV, eV/Å or eV/Å³. A million atoms of oganesson, all electrons counted, have a thousandth of it.
LARGEST = 1e15

#: Keys that are looked for, the first that any frame has is taken. What a file calls virial is, as in files of GAP
#: and MACE, minus the stress times the volume, in eV.
DEFAULT_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "energy": ("REF_energy", "energy", "free_energy"),
    "forces": ("REF_forces", "forces"),
    "stress": ("REF_stress", "stress", "REF_virials", "virials", "REF_virial", "virial"),
}
_VIRIAL: Final = "virial"


class LabelledFrame(Protocol):
    """A frame of a file; as text it says which."""

    @property
    def atoms(self) -> Atoms:
        """The structure, with whatever the file holds of it."""


@final
@dataclass(frozen=True, slots=True)
class Labels:
    """What a frame of N atoms is fitted to, or compared with.

    Attributes:
        energy: eV, or None if the frame carries none.
        forces: (N, 3) in eV/Å, or None.
        stress: (3, 3) in eV/Å³, tension positive, or None.
    """

    energy: float | None
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None = None


#: What a frame without labels has.
UNLABELLED: Final = Labels(None, None)


@final
@dataclass(frozen=True, slots=True)
class LabelCount:
    """Attributes: a label, the key it was read from, and in how many of all frames it was found."""

    label: str
    key: str
    frames: int
    total: int


def in_recipe(label: str, name: str, table: str = "data") -> str:
    """The words by which a recipe chooses the key of a label, for messages."""
    return f'{label}_key = "{name}" in [{table}]'


@final
class LabelReader:
    """Reads labels from frames, as many at a time as come.

    A key is looked up in the comment line or the columns of the file. What ASE takes out of them as results of a
    calculation (``energy``, ``forces``) is read from there, never through the constraints of the structure. The
    first frames of all in which a label is found decide for its key.

    Args:
        keys: label → its key, or None for the first of `DEFAULT_KEYS` that is found.
        chosen_by: says how whoever reads the messages chooses the key of a label.

    Attributes:
        total: frames that were read.
    """

    def __init__(self, keys: Mapping[str, str | None], chosen_by: Callable[[str, str], str] = in_recipe) -> None:
        self._candidates = {label: (key,) if key else DEFAULT_KEYS[label] for label, key in keys.items()}
        self._chosen_by = chosen_by
        self._keys: dict[str, str] = {}
        self._found: Counter[str] = Counter()
        self._others: Counter[tuple[str, str]] = Counter()
        self._overlooked: Counter[tuple[str, str]] = Counter()
        self._seen: Counter[str] = Counter()
        self._fitting: dict[str, set[str]] = {label: set() for label in keys}
        self.total = 0

    @property
    def keys(self) -> Mapping[str, str]:
        """Label → the key under which it was found so far."""
        return self._keys

    def look(self, frames: Sequence[LabelledFrame]) -> None:
        """Take note of what some frames carry, before the labels of any of them are read."""
        values = [_values(frame.atoms) for frame in frames]
        self.total += len(frames)
        for label in self._candidates.keys() - self._keys.keys():
            self._choose(label, values)
        if len(self._keys) < len(self._candidates):
            self._note_names(frames, values)

    def read(self, frame: LabelledFrame, units: Units = EV_ANGSTROM) -> Labels:
        """The labels of a frame.

        Args:
            frame: that was looked at; positions and cell are in Å.
            units: in which its labels are.

        Raises:
            TrainingError: one is not a number, has the wrong shape, is not finite, or is larger than `LARGEST`.
        """
        values = _values(frame.atoms)
        found = {label: values.get(key) for label, key in self._keys.items()}
        for label, value in found.items():
            if value is not None:
                self._found[label] += 1
                first = next(name for name in self._candidates[label] if values.get(name) is not None)
                self._overlooked.update([(label, first)] if first != self._keys[label] else [])
            else:
                other = next((name for name in DEFAULT_KEYS[label] if values.get(name) is not None), None)
                self._others.update([(label, other)] if other else [])
        energy, forces, stress = (found.get(label) for label in DEFAULT_KEYS)
        keys = self._keys
        return Labels(
            energy=None if energy is None else float(_numbers(energy, (), frame, keys["energy"], units.of_energy)),
            forces=None
            if forces is None
            else _numbers(forces, (len(frame.atoms), 3), frame, keys["forces"], units.of_forces),
            stress=None if stress is None else _stress(stress, frame, keys["stress"], units),
        )

    def counts(self) -> list[LabelCount]:
        """For each label, whence it was read and how often it was there."""
        return [
            LabelCount(label, self._keys.get(label, names[-1]), self._found[label], self.total)
            for label, names in self._candidates.items()
        ]

    def missing(self, *labels: str) -> TrainingError:
        """Say that no frame carries any of these labels, and what they carry instead."""
        names = " or ".join(name for label in labels for name in self._candidates[label])
        listed = ", ".join(f"{key} ({count})" for key, count in sorted(self._seen.items())) or "nothing"
        return TrainingError(
            f"None of the {self.total} frames carries {' or '.join(labels)} under {names}. "
            f"They carry (number of frames): {listed}. {' '.join(map(self._hint, labels))}"
        )

    def warn_of_others(self) -> None:
        """Say if frames count as unlabelled only because their label has another name than those of others."""
        for (label, other), count in self._overlooked.items():
            _LOG.warning(
                "%d of %d frames carry %s, too, which the first ones lack, so their %s was read from %s; if %s is "
                "meant, choose it with %s.",
                *(count, self.total, other, label, self._keys[label], other, self._chosen_by(label, other)),
            )
        for (label, other), count in self._others.items():
            _LOG.warning(
                "%d of %d frames carry %s but not %s, so they have no %s here; give all frames one name for it, "
                "or choose with %s.",
                *(count, self.total, other, self._keys[label], label, self._chosen_by(label, other)),
            )

    def _choose(self, label: str, values: Sequence[Mapping[str, Any]]) -> None:
        for key in self._candidates[label]:
            if any(each.get(key) is not None for each in values):
                self._keys[label] = key
                return

    def _note_names(self, frames: Sequence[LabelledFrame], values: Sequence[Mapping[str, Any]]) -> None:
        """Keep the names of what frames carry, and under which there is something of the shape of a label."""
        for frame, each in zip(frames, values, strict=True):
            self._seen.update(each.keys())
            shapes = {"energy": ((),), "forces": ((len(frame.atoms), 3),), "stress": ((6,), (9,), (3, 3))}
            results = {name: value for name, value in each.items() if not is_of_structure(name)}
            for label, names in self._fitting.items():
                names.update(name for name, value in results.items() if _could_be(value, shapes[label]))

    def _hint(self, label: str) -> str:
        """Which key to choose."""
        fitting = sorted(self._fitting[label])
        if not fitting:
            return f"None of these can be the {label}; add it to the file."
        choices = " or ".join(self._chosen_by(label, name) for name in fitting)
        return f"If one of them is the {label}, choose it with {choices}."


@final
class PackedLabels(Sequence[Labels]):
    """The labels of a packed file, read when they are asked for.

    Args:
        file: the file.
        labels: which of them; the others are as if they were not there.
    """

    def __init__(self, file: PackedFile, labels: Collection[str]) -> None:
        self._file, self._labels = file, labels

    def __len__(self) -> int:
        return len(self._file)

    @overload
    def __getitem__(self, index: int) -> Labels: ...
    @overload
    def __getitem__(self, index: slice) -> list[Labels]: ...
    def __getitem__(self, index: int | slice) -> Labels | list[Labels]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        results = self._file.results(range(len(self))[index])
        return Labels(*(results.get(label) if label in self._labels else None for label in DEFAULT_KEYS))


def read_labels(
    frames: Sequence[Frame],
    keys: Mapping[str, str | None],
    needed: Collection[str] = ("energy", "forces"),
    table: str = "data",
) -> tuple[Sequence[Labels], list[LabelCount]]:
    """Read the labels of all frames that a model is fitted to.

    Args:
        frames: at least one. Labels of packed files are read when they are asked for; they have one name each.
        keys: label → its key, by default the first of `DEFAULT_KEYS` that any frame has.
        needed: labels that must be on one frame at least.
        table: of the recipe, that names the keys.

    Raises:
        TrainingError: a needed label is in no frame; or see `LabelReader.read`.
    """
    parts = frames.parts if isinstance(frames, Frames) else [frames]
    packed = [part.file for part in parts if isinstance(part, PackedFrames)]
    reader = LabelReader(keys, partial(in_recipe, table=table))
    reader.look([frame for part in parts if not isinstance(part, PackedFrames) for frame in part])
    if not reader.total:
        _refuse_missing(packed, keys, needed)
    labels: list[Sequence[Labels]] = [
        PackedLabels(part.file, keys)
        if isinstance(part, PackedFrames)
        else [reader.read(frame, frame.units) for frame in part]
        for part in parts
    ]
    reader.warn_of_others()
    counts = [_with_packed(count, packed) for count in reader.counts()]
    for count in counts:
        if count.label in needed and not count.frames:
            raise reader.missing(count.label)
    return (labels[0] if len(labels) == 1 else Chained(labels)), counts


def _refuse_missing(files: Sequence[PackedFile], keys: Mapping[str, str | None], needed: Collection[str]) -> None:
    """Refuse packed files that lack a label, and names of labels that such files do not have.

    Raises:
        TrainingError: a label is in none of them, or is to be read under another name.
    """
    for label, key in keys.items():
        if key not in (None, label):
            raise TrainingError(
                f"Packed files have each label under its own name, so {label}_key = {key!r} finds nothing there; "
                "leave it out, it counts when such a file is made."
            )
        if label in needed and not any(file.counts[label] for file in files):
            raise TrainingError(
                f"None of the {sum(map(len, files))} frames carries {label}: the packed file was made of frames "
                "without; make it anew, and choose the key then."
            )


def _with_packed(count: LabelCount, files: Sequence[PackedFile]) -> LabelCount:
    """A count of labels to which those of packed files are added."""
    if not files:
        return count
    return LabelCount(
        label=count.label,
        key=count.key if count.frames else count.label,
        frames=count.frames + sum(file.counts[count.label] for file in files),
        total=count.total + sum(map(len, files)),
    )


def _could_be(value: Any, shapes: Collection[tuple[int, ...]]) -> bool:
    array = np.asarray(value)
    return array.shape in shapes and array.dtype.kind in "if"


def _values(atoms: Atoms) -> dict[str, Any]:
    """Everything a frame holds beside its structure."""
    results = atoms.calc.results if atoms.calc is not None else {}
    columns = {name: values for name, values in atoms.arrays.items() if name not in ("numbers", "positions")}
    return {**columns, **atoms.info, **results}


def _stress(value: Any, frame: LabelledFrame, key: str, units: Units) -> NDArray[np.float64]:
    """A stress of six components in Voigt order, or of nine, symmetrised; or that of a virial."""
    shape = np.shape(value)
    factor = units.of_energy if _VIRIAL in key else units.of_stress
    numbers = _numbers(value, shape if shape in ((6,), (9,), (3, 3)) else (3, 3), frame, key, factor)
    if shape == (6,):
        full: NDArray[np.float64] = voigt_6_to_full_3x3_stress(numbers)
    else:
        full = numbers.reshape(3, 3)
        full = 0.5 * (full + full.T)
    if _VIRIAL not in key:
        return full
    volume = frame.atoms.cell.volume
    if not volume:
        raise TrainingError(f"{key} of {frame} is a virial, but the structure has no volume; remove it.")
    stress: NDArray[np.float64] = -full / volume
    return stress


def _numbers(
    value: Any, shape: tuple[int, ...], frame: LabelledFrame, key: str, factor: float
) -> NDArray[np.float64]:
    """The value as finite numbers of the expected shape, times a factor from the units of the file to ours."""
    if np.asarray(value).dtype == np.bool_:
        raise TrainingError(f"{key} of {frame} is true or false, not a number; correct its label.")
    try:
        numbers: NDArray[np.float64] = np.asarray(value, dtype=np.float64) * factor
    except (TypeError, ValueError, OverflowError):
        raise TrainingError(f"{key} of {frame} is not numeric: {str(value)[:40]!r}.") from None
    if numbers.shape != shape:
        raise TrainingError(f"{key} of {frame} has shape {numbers.shape}, not {shape}.")
    if not np.isfinite(numbers).all():
        raise TrainingError(f"{key} of {frame} is not finite; remove the frame or repair its label.")
    if np.abs(numbers).max(initial=0.0) > LARGEST:
        largest = numbers.flat[np.abs(numbers).argmax()]
        raise TrainingError(
            f"{key} of {frame} has the value {largest:g}, which no energy in eV and no force in eV/Å has; "
            "remove the frame or repair its label."
        )
    return numbers
