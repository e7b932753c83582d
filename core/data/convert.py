"""Labelled structures of any files, written into one packed file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import numpy as np

import halocline
from halocline.data.frames import Frame, digest_of, stream_frames
from halocline.data.labels import DEFAULT_KEYS, LabelCount, LabelReader, Labels
from halocline.errors import TrainingError, UsageError
from halocline.files import replacement
from halocline.structures.packed import ENDING, PackedWriter, Row
from halocline.structures.units import Units
from halocline.typed_table import plain_number

#: Frames whose labels are looked for together.
_TOGETHER: Final = 256
#: Columns that a packed file has room for.
_COLUMNS: Final = ("numbers", "positions")
#: Under these, readers of the file would take an entry for a label in the place of the one that was chosen.
_OF_LABELS: Final = frozenset(name for names in DEFAULT_KEYS.values() for name in names)
#: Of the file's own notes: what it was made of.
_KEY: Final = b"halocline.made_of"


@final
@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written.

    Attributes:
        path: the file.
        frames: structures in it.
        atoms: of all of them.
        size: bytes of the file.
        sha256: its digest.
        labels: whence each was read and how often.
        left_out: columns and entries that such a file has no room for → frames that had them.
        sources: name of each file → its SHA-256.
    """

    path: Path
    frames: int
    atoms: int
    size: int
    sha256: str
    labels: list[LabelCount]
    left_out: dict[str, int]
    sources: dict[str, str]


def convert(
    files: Sequence[Path],
    output: Path,
    keys: Mapping[str, str | None],
    units: Units | None,
    advance: Callable[[], None] = lambda: None,
) -> Conversion:
    """Write all structures of some files into one, in their order, in eV and Å; all or nothing.

    A few hundred frames are in memory at a time.

    Args:
        files: of any kind that `halocline.data.frames` reads, packed ones included.
        output: the file to write; it is replaced.
        keys: energy, forces and stress → the name that the files have for it, or None for the usual ones.
        units: of the files, by default those of their formats.
        advance: called after each frame.

    Raises:
        TrainingError: a file is missing, damaged or changes, a label is no number, or no frame has any.
        UsageError: pyarrow is not installed.
        OSError: the disk is full or the folder cannot be written; what was there is as it was.
    """
    reader = LabelReader(keys, lambda label, name: f"--{label}-key {name}")
    frames, atoms, left_out = 0, 0, Counter[str]()
    sources = {str(file): digest_of(file) for file in files}
    with replacement(output) as temporary:
        digests = [[file.name, sha256] for file, sha256 in zip(files, sources.values(), strict=True)]
        made_of = json.dumps({"files_sha256": digests, "halocline": halocline.__version__})
        writer = PackedWriter(temporary, {_KEY: made_of.encode()})
        with ExitStack() as stack:
            stack.callback(writer.close)
            for frame, labels in _labelled(files, reader, units):
                row, without = _row(frame, labels, reader.keys.values())
                writer.add(row)
                left_out.update(without)
                frames, atoms = frames + 1, atoms + len(row.numbers)
                advance()
        if not any(count.frames for count in reader.counts()):
            raise reader.missing(*keys)
        sha256, size = digest_of(temporary), temporary.stat().st_size
    reader.warn_of_others()
    return Conversion(output, frames, atoms, size, sha256, reader.counts(), dict(left_out), sources)


def _labelled(files: Sequence[Path], reader: LabelReader, units: Units | None) -> Iterator[tuple[Frame, Labels]]:
    for file in files:
        frames = stream_frames(str(file), file, units)
        while some := list(islice(frames, _TOGETHER)):
            reader.look(some)
            for frame in some:
                yield frame, reader.read(frame, frame.units)


def check_output(output: Path, files: Sequence[Path], *, overwrite: bool) -> None:
    """Find out before any work that a file cannot be written, or must not be.

    Raises:
        UsageError: its name does not end as it should, its folder is missing, or it is there already.
    """
    if output.suffix != ENDING:
        raise UsageError(f"--output {output} is a file of Arrow; let its name end in {ENDING}.")
    if not output.parent.is_dir():
        raise UsageError(f"The folder of --output {output} does not exist; make it first.")
    if any(file.exists() and output.exists() and file.samefile(output) for file in files):
        raise UsageError(f"--output {output} is one of the files to convert; choose another name.")
    if output.exists() and not overwrite:
        raise UsageError(f"--output {output} is there already; replace it with --overwrite, or choose another.")


def _row(frame: Frame, labels: Labels, keys: Collection[str]) -> tuple[Row, list[str]]:
    """A structure with its labels, which it has under these keys, and the names of what is left out."""
    atoms = frame.atoms
    if not len(atoms) or not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        what = "has positions or a cell that are not finite" if len(atoms) else "has no atoms"
        raise TrainingError(f"{frame} {what}; remove it or repair it.")
    entries = {name: plain_number(value) for name, value in atoms.info.items() if name not in keys}
    info = {name: value for name, value in entries.items() if _has_room(value) and name not in _OF_LABELS}
    known = {*_COLUMNS, *keys, *info}
    results = {} if atoms.calc is None else atoms.calc.results
    without = [name for name in {**atoms.arrays, **entries, **results} if name not in known]
    without += ["constraints"] if atoms.constraints else []
    cell = atoms.cell.array
    row = Row(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=cell if cell.any() else None,
        pbc=atoms.pbc.tolist(),
        energy=labels.energy,
        forces=labels.forces,
        stress=labels.stress,
        info=info,
    )
    return row, without


def _has_room(value: Any) -> bool:
    """Whether a value is text, a truth value or a finite number."""
    return isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
