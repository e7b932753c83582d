"""Checkpoints of a run: everything that its next step depends on, in full precision.

The file is a NumPy archive without pickle: float64 arrays, and the rest as JSON. The archive carries a CRC of
every entry, so a damaged file is refused rather than continued from.
"""

from __future__ import annotations

import io
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import DynamicsError
from halocline.files import newest, previous_path, write_keeping_previous

_LOG = logging.getLogger(__name__)

FORMAT_VERSION = 2
_ARRAYS = ("positions", "momenta", "cell")

#: Before the names of arrays of `Snapshot.placing`.
_PLACING = "placing/"


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The state of a run at the end of a step, before that step is recorded.

    Attributes:
        step: number of the step.
        positions: (N, 3) float64, Å.
        momenta: (N, 3) float64, in ASE's unit √(amu·eV).
        cell: (3, 3) float64, Å.
        integrator: thermostat and barostat variables, by ASE's names.
        rng: state of the random-number generator, as NumPy gives it.
        marks: length and SHA-256 of every file that the run appends to.
        options: everything that must not change when the run goes on, by name.
        versions: of the libraries that took part.
        collected: steps of the frames that were collected, ascending.
        placing: which process held which atom, and since when, where several held them; see `residents`.
    """

    step: int
    positions: NDArray[np.float64]
    momenta: NDArray[np.float64]
    cell: NDArray[np.float64]
    integrator: dict[str, float]
    rng: dict[str, Any]
    marks: dict[str, dict[str, Any]]
    options: dict[str, Any]
    versions: dict[str, str]
    collected: list[int] = field(default_factory=list)
    placing: dict[str, NDArray[Any]] = field(default_factory=dict)


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint atomically; the one before it is kept, see `halocline.files`.

    Raises:
        DynamicsError: the disk is full or the folder cannot be written; the old checkpoint is intact.
    """
    names = [name for name in Snapshot.__dataclass_fields__ if name not in (*_ARRAYS, "placing")]
    header = {"format_version": FORMAT_VERSION} | {name: getattr(snapshot, name) for name in names}
    arrays = {name: getattr(snapshot, name) for name in _ARRAYS}
    arrays |= {f"{_PLACING}{name}": values for name, values in snapshot.placing.items()}
    archive = io.BytesIO()
    np.savez(archive, header=np.array(json.dumps(header)), **arrays)
    try:
        write_keeping_previous(path, archive.getvalue())
    except OSError as error:
        reason = error.strerror or str(error)
        raise DynamicsError(f"Cannot write the checkpoint {path}: {reason}. The one before it is kept.") from error


def load_snapshot(path: Path) -> Snapshot:
    """Read a checkpoint, or the previous one if the newest is missing.

    Raises:
        DynamicsError: there is none, it is damaged, or it has another version.
    """
    found = newest(path)
    if found is None:
        raise DynamicsError(f"There is no checkpoint {path} to resume from; leave out --resume to start a run.")
    return _read(found)


def say_other_versions(stored: dict[str, str], here: dict[str, str]) -> None:
    """Warn of each library that a run was started with another version of."""
    for name, old in stored.items():
        if here.get(name) != old:
            _LOG.warning(
                "The run was started with %s %s, now %s: the restart may not be exact to the last bit.",
                *(name, old, here.get(name)),
            )


def _read(path: Path) -> Snapshot:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            arrays = {name: archive[name] for name in _ARRAYS}
            placing = {name.removeprefix(_PLACING): archive[name] for name in archive if name.startswith(_PLACING)}
        version = header.pop("format_version")
    except Exception as error:  # damage shows as almost any error of zipfile, NumPy or json
        raise DynamicsError(
            f"The checkpoint {path} is damaged ({error}); the one before it may be at {previous_path(path)}, "
            "move it there to resume from it."
        ) from error
    if version != FORMAT_VERSION:
        raise DynamicsError(
            f"The checkpoint {path} has format version {version}, this release reads {FORMAT_VERSION}; "
            "resume with the release that wrote it."
        )
    return Snapshot(**header, **arrays, placing=placing)
