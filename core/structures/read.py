"""Structures from files of any format that ASE reads, or from standard input."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import ase.io
from ase.io.formats import IOFormat, UnknownFileTypeError, filetype, get_ioformat, ioformats

from halocline.errors import HaloclineError, StructureError, unknown_name
from halocline.structures import isotopes, lammps
from halocline.structures.constraints import simplify
from halocline.structures.extended_xyz import check_frames
from halocline.structures.limits import limited
from halocline.structures.source import STANDARD_INPUT, cleaned, read_source, size_of
from halocline.structures.symmetry import refuse_images

if TYPE_CHECKING:
    from ase import Atoms

#: Reads beyond the end of a file after which its reader is stopped; honest ones need one or two for a frame.
_MOST_BEYOND = 10_000

#: The format of standard input, which has no name to tell it by.
EXTENDED_XYZ = "extxyz"
#: Line with the number of atoms, in formats whose readers stop where a file stops.
_COUNT_AT = {"gen": 0, "gromacs": 1}
_BINARY_TEXT = ("cif",)  # ASE opens it as bytes
_HINT = "If it is in another format, name that with --format, as in --format lammps-data."


def read_frames(source: str, file_format: str | None = None) -> list[Atoms]:
    """Read all frames of a file.

    What is read is bounded in memory and time by the size of the file. Constraints come in the form of
    `halocline.structures.constraints.simplify`.

    Args:
        source: path of a file, or `STANDARD_INPUT`.
        file_format: ASE's name of the format, if its name and content do not tell.

    Raises:
        StructureError: it is missing, empty, cut off, not understood, or larger than it can rightly be.
        UsageError: there is no such format, or standard input is closed.
    """
    if file_format is not None and file_format not in ioformats:
        raise unknown_name("file format", file_format, ioformats)
    try:
        with limited(_name(source), size_of(source)):
            data = read_source(source)
        with limited(_name(source), len(data)):
            return _parsed(data, source, file_format)
    except OSError as error:
        raise StructureError(f"{_name(source)} cannot be read: {_reason(error)}.") from error


def _parsed(data: bytes, source: str, file_format: str | None) -> list[Atoms]:
    name = _name(source)
    if not data.strip():
        raise StructureError(f"{name} is empty.")
    chosen = _format(data, source, file_format)
    text = chosen.acceptsfd and (not chosen.isbinary or chosen.name in _BINARY_TEXT)
    data = cleaned(data) if text else data
    if chosen.name in ("extxyz", "xyz"):
        check_frames(data, name)
    if file_format is None and not chosen.name.startswith("lammps") and lammps.is_data(data):
        raise StructureError(f"{name} seems to be a LAMMPS data file; read it with --format lammps-data.")
    options = _options(chosen, data, name)
    try:
        frames = _read(data, source, chosen, options)
    except HaloclineError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # every one of ASE's readers fails in its own way
        hint = "" if file_format else f" {_HINT}"
        raise StructureError(f"{name} cannot be read as {chosen.name}: {_reason(error)}.{hint}") from error
    if not frames:
        raise StructureError(f"{name} holds no structure that can be read as {chosen.name}. {_HINT}")
    _check_count(frames, data, chosen, name)
    for index, atoms in enumerate(frames):
        if chosen.name == "lammps-dump-text" and atoms.calc is not None:
            del atoms.calc.results["energy"]  # 0, made up by the reader
        refuse_images(atoms, f"{name}, frame {index}")
        simplify(atoms)
    return frames


def _check_count(frames: Sequence[Atoms], data: bytes, chosen: IOFormat, name: str) -> None:
    """Refuse a file of one structure that states another number of atoms than its reader has found."""
    line = _COUNT_AT.get(chosen.name)
    if line is None:
        return
    stated = data.split(b"\n", line + 1)[line].split()[0]
    if int(stated) != len(frames[0]):
        raise StructureError(f"{name} states {int(stated)} atoms but has {len(frames[0])}; copy it again.")


def _format(data: bytes, source: str, file_format: str | None) -> IOFormat:
    """The format that was named, or that name and content tell."""
    try:
        if file_format is None and source == STANDARD_INPUT:
            file_format = EXTENDED_XYZ
        return get_ioformat(file_format or filetype(_NamedBytes(cleaned(data[: 1 << 16]), source)))
    except UnknownFileTypeError:
        raise StructureError(
            f"The format of {_name(source)} cannot be told from its name or content. {_HINT}"
        ) from None


def _options(chosen: IOFormat, data: bytes, name: str) -> dict[str, Any]:
    if chosen.name == "lammps-data":
        return lammps.data_options(data.decode(errors="replace"), name)
    if chosen.name == "lammps-dump-text":
        return lammps.dump_options(data.decode(errors="replace"), name)
    if chosen.name == "lammps-dump-binary":
        raise StructureError(f"{name} does not say which elements its types are; write a dump as text.")
    return {}


def _read(data: bytes, source: str, chosen: IOFormat, options: dict[str, Any]) -> list[Atoms]:
    def frames() -> Sequence[Atoms]:
        stream = _stream(data, source, chosen)
        found: Any = ase.io.read(
            stream, index=":", format=chosen.name, do_not_split_by_at_sign=True, parallel=False, **options
        )
        return list(found)

    try:
        return list(frames())
    except Exception as error:
        if not isotopes.is_unknown(error):
            raise
        original = error
    try:
        with isotopes.known():
            found = list(frames())
    except Exception:
        raise original from None
    isotopes.resolve(found)
    return found


def _stream(data: bytes, source: str, chosen: IOFormat) -> str | IO[Any]:
    """What a reader takes: text, bytes, or the path if it opens files itself."""
    if not chosen.acceptsfd:
        return str(Path(source).absolute())
    stream = _NamedBytes(data, source)
    return stream if chosen.isbinary else io.TextIOWrapper(stream, encoding="utf-8", errors="replace")


class _NamedBytes(io.BytesIO):
    """Bytes in memory with the name of their file: formats are told by it, and some readers look beside it.

    A reader that asks for line after line beyond the end, as a wrong number of atoms makes it do, is stopped.
    """

    def __init__(self, data: bytes, source: str) -> None:
        super().__init__(data)
        self.name = str(Path(source).absolute())
        self._beyond = 0

    def read1(self, size: int | None = -1) -> bytes:
        """What `io.TextIOWrapper` calls for the next block of lines."""
        block = super().read1(size)
        self._beyond += not block
        if self._beyond > _MOST_BEYOND:
            raise StructureError(f"{self.name} ends before it has all the atoms that it says it has.")
        return block


def _name(source: str) -> str:
    return "Standard input" if source == STANDARD_INPUT else source


def _reason(error: BaseException) -> str:
    """Say in one line what went wrong; many readers raise errors without words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    words = " ".join(str(error).split()).rstrip(".")
    return words or f"it does not follow that format ({type(error).__name__})"
