"""Reference energies and forces of frames, under the keys that files call them by."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import TrainingError
from halocline.training.frames import Frame

if TYPE_CHECKING:
    from ase import Atoms

_LOG = logging.getLogger(__name__)

#: eV or eV/Å. A million atoms of oganesson, all electrons counted, have a thousandth of it.
LARGEST = 1e15


@final
@dataclass(frozen=True, slots=True)
class Labels:
    """What a frame of N atoms is fitted to.

    Attributes:
        energy: eV, or None if the frame carries none.
        forces: (N, 3) in eV/Å, or None.
    """

    energy: float | None
    forces: NDArray[np.float64] | None


@final
@dataclass(frozen=True, slots=True)
class LabelCount:
    """Attributes: a label, the key it was read from, and in how many of all frames it was found."""

    label: str
    key: str
    frames: int
    total: int


def read_labels(
    frames: Sequence[Frame],
    energy_key: str | None,
    forces_key: str | None,
    needed: Collection[str] = ("energy", "forces"),
) -> tuple[list[Labels], list[LabelCount]]:
    """Read the labels of all frames.

    A key is looked up in the comment line or the columns of the file. What ASE takes out of them as results of a
    calculation (``energy``, ``forces``) is read from there, never through the constraints of the structure.

    Args:
        frames: at least one.
        energy_key: by default ``REF_energy`` if any frame has it, else ``energy``.
        forces_key: by default ``REF_forces`` if any frame has it, else ``forces``.
        needed: labels that must be on one frame at least.

    Raises:
        TrainingError: a needed label is in no frame, or one is not a number, has the wrong shape, is not finite,
            or is larger than `LARGEST`.
    """
    energies, energy_count = _find("energy", frames, energy_key, "energy" in needed)
    forces, forces_count = _find("forces", frames, forces_key, "forces" in needed)
    labels = [
        Labels(
            energy=None if energy is None else float(_numbers(energy, (), frame, energy_count.key)),
            forces=None if force is None else _numbers(force, (len(frame.atoms), 3), frame, forces_count.key),
        )
        for frame, energy, force in zip(frames, energies, forces, strict=True)
    ]
    return labels, [energy_count, forces_count]


def _find(label: str, frames: Sequence[Frame], wanted: str | None, needed: bool) -> tuple[list[Any], LabelCount]:
    """Raw values of one label, None where a frame has none."""
    keys = [wanted] if wanted else [f"REF_{label}", label]
    for key in keys:
        values = [_values(frame.atoms).get(key) for frame in frames]
        found = sum(value is not None for value in values)
        if found:
            _warn_of_others(label, key, values, frames)
            return values, LabelCount(label, key, found, len(frames))
    if not needed:
        return values, LabelCount(label, key, 0, len(frames))
    seen = Counter(key for frame in frames for key in _values(frame.atoms))
    listed = ", ".join(f"{key} ({count})" for key, count in sorted(seen.items())) or "nothing"
    raise TrainingError(
        f"None of the {len(frames)} frames carries {label} under {' or '.join(keys)}. "
        f"They carry (number of frames): {listed}. {_hint(label, frames)}"
    )


def _warn_of_others(label: str, key: str, values: Sequence[Any], frames: Sequence[Frame]) -> None:
    """Say if frames count as unlabelled only because their label has another name than those of others."""
    others = [name for name in (f"REF_{label}", label) if name != key]
    missing = [frame for frame, value in zip(frames, values, strict=True) if value is None]
    for other in others:
        count = sum(other in _values(frame.atoms) for frame in missing)
        if count:
            _LOG.warning(
                "%d of %d frames carry %s but not %s, so they have no %s here; give all frames one name for it, "
                "or choose with data.%s_key.",
                *(count, len(frames), other, key, label, label),
            )


def _hint(label: str, frames: Sequence[Frame]) -> str:
    """What to write into the recipe: the names under which there is something of the right shape."""
    fitting = sorted(
        {
            name
            for frame in frames
            for name, value in _values(frame.atoms).items()
            if _could_be(value, () if label == "energy" else (len(frame.atoms), 3))
        }
    )
    if not fitting:
        return f"None of these can be the {label}; add it to the file."
    choices = " or ".join(f'{label}_key = "{name}"' for name in fitting)
    return f"If one of them is the {label}, set in [data]: {choices}."


def _could_be(value: Any, shape: tuple[int, ...]) -> bool:
    array = np.asarray(value)
    return array.shape == shape and array.dtype.kind in "if"


def _values(atoms: Atoms) -> dict[str, Any]:
    """Everything a frame holds beside its structure."""
    results = atoms.calc.results if atoms.calc is not None else {}
    columns = {name: values for name, values in atoms.arrays.items() if name not in ("numbers", "positions")}
    return {**columns, **atoms.info, **results}


def _numbers(value: Any, shape: tuple[int, ...], frame: Frame, key: str) -> NDArray[np.float64]:
    """The value as finite numbers of the expected shape."""
    if np.asarray(value).dtype == np.bool_:
        raise TrainingError(f"{key} of {frame} is true or false, not a number; correct its label.")
    try:
        numbers = np.asarray(value, dtype=np.float64)
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
