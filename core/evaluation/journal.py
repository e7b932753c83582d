"""What a file of results was made from, and how far it came: enough to go on after any end.

A journal is a file of JSON lines beside the results. The first says what the numbers follow from besides the
structures. Each other says, after results were written, how many frames were dealt with, a digest of these, and
length and digest of the file of results. After a crash the last line may be torn, and after a power cut either
file may be behind the other: the last line that agrees with the results is where to go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from ase import Atoms

from halocline.appended import EMPTY
from halocline.errors import OutputError

if TYPE_CHECKING:
    from halocline.evaluation.forms import Form
    from halocline.evaluation.frames import Frame

FORMAT_VERSION: Final = 1

#: Entries of ``atoms.info`` that may state a charge, a spin or a head.
_PLAIN: Final = (str, bool, int, float, np.generic)


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """How far results came.

    Attributes:
        frames: dealt with, in the order in which they were read.
        failed: of these, without a result.
        input: digest of these frames, as `InputDigest` gives it.
        results: length and SHA-256 of the file of results, in bytes or rows.
    """

    frames: int
    failed: int
    input: str
    results: Mapping[str, Any]

    def line(self) -> bytes:
        """The entry as a line of the journal: JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


@final
class InputDigest:
    """A digest of all that results may follow from: elements, positions, cells, states, what cannot be read."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, frame: Frame) -> None:
        """Take a frame into the digest."""
        if isinstance(frame.content, Atoms):
            atoms = frame.content
            self._digest.update(len(atoms).to_bytes(8))
            for array in (atoms.numbers.astype(np.int64), atoms.positions, atoms.cell.array, atoms.pbc):
                self._digest.update(np.ascontiguousarray(array).tobytes())
            stated = {name: value for name, value in atoms.info.items() if isinstance(value, _PLAIN)}
            self._digest.update(repr(sorted(stated.items())).encode(errors="replace"))
        else:
            self._digest.update(b"unreadable")

    def __str__(self) -> str:
        return self._digest.hexdigest()


def journal_path(results: Path) -> Path:
    """Path of the journal that belongs to a file of results."""
    return results.with_name(f".{results.name}.journal")


def header(identity: Mapping[str, Any]) -> bytes:
    """The first line of a journal."""
    return json.dumps({"version": FORMAT_VERSION, "identity": identity}).encode() + b"\n"


def read_journal(results: Path, form: Form, identity: Mapping[str, Any]) -> list[Entry]:
    """How far results came, step by step, up to where both files are what they were.

    Args:
        results: a file of results that is there.
        form: in which it is.
        identity: what their numbers follow from now, by name.

    Returns:
        The entries up to there; none if an end came before the first of them.

    Raises:
        OutputError: there is no journal, or the results are of something else, or were changed and not cut short.
        OSError: a file cannot be read.
    """
    path = journal_path(results)
    if not path.exists():
        raise OutputError(
            f"Nothing says what {results} was made from: {path} is not there. Replace it with --overwrite, or "
            "choose another --output."
        )
    first, *rest = path.read_bytes().split(b"\n")
    _check_identity(results, _parsed(first), identity)
    entries = list(_entries(rest))
    if not entries:
        return []
    intact = form.last_intact(results, [EMPTY, *(entry.results for entry in entries)]) or 0
    cut_short = form.length(results) < entries[-1].results["length"]
    if not intact or (intact < len(entries) and not cut_short):
        raise OutputError(
            f"{results} was changed since it was written. Restore it, replace it with --overwrite, or choose "
            "another --output."
        )
    return entries[:intact]


def check_input(results: Path, entry: Entry, digest: InputDigest) -> None:
    """Refuse frames that are not those which results were made from.

    Raises:
        OutputError: they differ somewhere up to the entry's last.
    """
    if str(digest) != entry.input:
        raise OutputError(
            f"{results} was made from other structures: the first {entry.frames} that were read now are not those "
            "of then. Give the same files in the same order, or choose another --output."
        )


def _entries(lines: Sequence[bytes]) -> Iterator[Entry]:
    for line in lines:
        values = _parsed(line)
        if not isinstance(values, dict) or values.keys() != Entry.__dataclass_fields__.keys():
            return  # torn, and so is what follows
        yield Entry(**values)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _check_identity(results: Path, stored: Any, given: Mapping[str, Any]) -> None:
    if not isinstance(stored, dict) or stored.get("version") != FORMAT_VERSION:
        raise OutputError(
            f"{journal_path(results)} is no journal that this version reads. Replace {results} with --overwrite, "
            "or choose another --output."
        )
    was = stored["identity"]
    changes = [
        f"{name} was {was.get(name)}, now {given.get(name)}"
        for name in sorted(was.keys() | given.keys())
        if was.get(name) != given.get(name)
    ]
    if changes:
        raise OutputError(
            f"{results} was made with something else: {'; '.join(changes)}. Go on with what it was made with, or "
            "choose another --output."
        )
