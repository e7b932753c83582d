"""Structures from files of any format that ASE reads, of some that it does not, or from standard input."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import ase.io
from ase.io.formats import IOFormat, UnknownFileTypeError, filetype, get_ioformat, ioformats

from halocline.errors import HaloclineError, StructureError, unknown_name
from halocline.structures import isotopes, lammps, packed, pnnl
from halocline.structures.constraints import simplify
from halocline.structures.database import rows_of
from halocline.structures.extended_xyz import split_frames
from halocline.structures.limits import limited
from halocline.structures.source import (
    COMPRESSED,
    STANDARD_INPUT,
    blocks_of,
    cleaned,
    ending_of,
    size_of,
    text_of,
)
from halocline.structures.symmetry import refuse_images
from halocline.structures.units import Units

if TYPE_CHECKING:
    from ase import Atoms

#: Reads beyond the end of a file after which its reader is stopped; honest ones need one or two for a frame.
_MOST_BEYOND = 10_000

#: The format of standard input, which has no name to tell it by.
EXTENDED_XYZ = "extxyz"
#: Line with the number of atoms, in formats whose readers stop where a file stops.
_COUNT_AT = {"gen": 0, "gromacs": 1}
#: What is read frame by frame.
_FRAME_BY_FRAME = ("extxyz", "xyz")
#: Frames, or bytes of them, that are read under the same bounds; and bytes that tell a format.
_GROUP, _GROUP_BYTES, _HEAD = 64, 1 << 20, 1 << 16
_BINARY_TEXT = ("cif",)  # ASE opens it as bytes
_HINT = "If it is in another format, name that with --format, as in --format lammps-data."


def read_frames(source: str, file_format: str | None = None, units: Units | None = None) -> list[Atoms]:
    """Read all frames of a file.

    What is read is bounded in memory and time by the size of the file. Constraints come in the form of
    `halocline.structures.constraints.simplify`.

    Args:
        source: path of a file, or `STANDARD_INPUT`.
        file_format: ASE's name of the format, if its name and content do not tell.
        units: of a file whose format has its own (`has_units`), if it was written in others.

    Raises:
        StructureError: it is missing, empty, cut off, not understood, or larger than it can rightly be.
        UsageError: there is no such format, or standard input is closed.
    """
    frames = []
    for frame in _frames(source, file_format, units, endless=False):
        if isinstance(frame, StructureError):
            raise frame
        frames.append(frame)
    return frames


def stream_frames(
    source: str, file_format: str | None = None, units: Units | None = None
) -> Generator[Atoms | StructureError]:
    """Read the frames of a file as they are needed; see `read_frames`.

    Extended XYZ and XYZ, compressed or from standard input too, ASE's trajectories, its databases in SQLite, HDF5
    of water clusters and packed structures are held a few frames at a time; files of other formats are read whole.

    Yields:
        A frame; or, if it alone cannot be read, what is wrong with it.

    Raises:
        StructureError: nothing from here on can be read.
        UsageError: as for `read_frames`, before anything is read.
    """
    check_format(file_format)
    return _frames(source, file_format, units, endless=True)


def has_units(source: str) -> bool:
    """Whether the format of a file, as its name tells, says in which units it is; results are then converted."""
    return ending_of(source) in _OWN


def check_source(source: str, file_format: str | None = None) -> None:
    """Find out before any work that a file cannot be read at all.

    Raises:
        StructureError: it is missing, may not be read, or is no regular file.
        UsageError: there is no such format.
    """
    check_format(file_format)
    try:
        size_of(source)
        if source != STANDARD_INPUT:
            Path(source).open("rb").close()
    except OSError as error:
        raise StructureError(f"{_name(source)} cannot be read: {_reason(error)}.") from error


def check_format(file_format: str | None) -> None:
    """Refuse a name that is no format.

    Raises:
        UsageError: ASE has no such format.
    """
    if file_format is not None and file_format not in ioformats:
        raise unknown_name("file format", file_format, ioformats)


def _frames(
    source: str, file_format: str | None, units: Units | None, *, endless: bool
) -> Generator[Atoms | StructureError]:
    """All frames, read step by step under bounds; standard input may be endless or not."""
    check_format(file_format)
    steps = _steps(source, file_format, units, endless=endless)
    try:
        size = size_of(source)
        while True:
            with limited(_name(source), size):
                step = next(steps, None)
            if step is None:
                return
            if isinstance(step, int):
                size = step
            else:
                yield from step
    except OSError as error:
        raise StructureError(f"{_name(source)} cannot be read: {_reason(error)}.") from error


def _steps(
    source: str, file_format: str | None, units: Units | None, *, endless: bool
) -> Generator[Sequence[Atoms | StructureError] | int]:
    """The next frames, or for how many bytes the step that follows is bounded."""
    own = _OWN.get(ending_of(source)) if file_format is None else None
    if own is not None:
        with _explained(_name(source), own.name):
            for number, frame in enumerate(own.frames(source, units)):
                where = f"{_name(source)}, frame {number}"
                yield [frame if isinstance(frame, StructureError) else _simple(frame, where)]
        return
    blocks = blocks_of(source, endless=endless)
    if file_format is None and source == STANDARD_INPUT:
        file_format = EXTENDED_XYZ
    head = b""
    while file_format is None and len(head) < _HEAD and (block := next(blocks, b"")):
        head += block
    if file_format is None and not head.strip():
        raise StructureError(f"{_name(source)} is empty.")
    chosen = _format(head, source, file_format)
    if chosen.name in _FRAME_BY_FRAME:
        rest = blocks if endless else list(blocks)  # what is too long is refused before any of it is read
        yield from _xyz_groups(chain([head] if head else [], rest), source, chosen)
    elif chosen.name in _BY_INDEX and source != STANDARD_INPUT and ending_of(source) not in COMPRESSED:
        blocks.close()
        yield from _BY_INDEX[chosen.name](source, chosen)
    else:
        data = b"".join((head, *blocks))
        yield len(data)
        yield _parsed(data, source, chosen, explained=file_format is not None)


def _xyz_groups(blocks: Iterator[bytes], source: str, chosen: IOFormat) -> Generator[list[Atoms | StructureError]]:
    texts = split_frames(text_of(blocks, _name(source)), _name(source))
    failure: StructureError | OSError | None = None
    count = 0
    while failure is None:
        group: list[bytes | StructureError] = []
        size = 0
        try:
            while len(group) < _GROUP and size < _GROUP_BYTES and (text := next(texts, None)) is not None:
                group.append(text)
                size += 0 if isinstance(text, StructureError) else len(text)
        except (StructureError, OSError) as error:  # after the frames before it
            failure = error
        if not group:
            break
        yield _xyz_frames(group, source, chosen, count)
        count += len(group)
    if failure is not None:
        raise failure


def _xyz_frames(
    texts: Sequence[bytes | StructureError], source: str, chosen: IOFormat, first: int
) -> list[Atoms | StructureError]:
    """Frames that follow each other, or why they cannot be read; if one cannot, each is read by itself."""
    where = [f"{_name(source)}, frame {first + place}" for place in range(len(texts))]
    good = [text for text in texts if not isinstance(text, StructureError)]
    if len(good) == len(texts):
        with suppress(Exception):
            frames = _read(b"".join(good), source, chosen, {})
            return [_checked(atoms, chosen, place) for atoms, place in zip(frames, where, strict=True)]
    return [_xyz_frame(text, source, chosen, place) for text, place in zip(texts, where, strict=True)]


def _xyz_frame(text: bytes | StructureError, source: str, chosen: IOFormat, where: str) -> Atoms | StructureError:
    """A frame, or why it cannot be read."""
    try:
        if isinstance(text, StructureError):
            return text
        with _explained(where, chosen.name):
            (atoms,) = _read(text, source, chosen, {})
        return _checked(atoms, chosen, where)
    except StructureError as error:
        return error


def _trajectory_groups(source: str, chosen: IOFormat) -> Generator[list[Atoms | StructureError]]:
    with Path(source).open("rb") as stream, _explained(_name(source), chosen.name):
        for number, atoms in enumerate(ase.io.iread(stream, index=":", format=chosen.name)):
            yield [_checked(atoms, chosen, f"{_name(source)}, frame {number}")]


def _database_groups(source: str, chosen: IOFormat) -> Generator[list[Atoms | StructureError]]:
    with _explained(_name(source), chosen.name):
        for number, atoms in enumerate(rows_of(source)):
            yield [_checked(atoms, chosen, f"{_name(source)}, frame {number}")]


class _OwnFormat(NamedTuple):
    """A format that ASE does not know: its name for messages, and what reads the frames of a file one by one."""

    name: str
    frames: Callable[[str, Units | None], Iterator[Atoms | StructureError]]


#: By what names of files end in.
_OWN = {
    **dict.fromkeys(pnnl.ENDINGS, _OwnFormat("HDF5 in the layout of PNNL's water clusters", pnnl.clusters_of)),
    packed.ENDING: _OwnFormat("structures in Arrow", packed.structures_of),
}

#: Endings that ASE knows in small letters only.
_SMALL = (".xyz", ".extxyz", ".traj", ".db")

#: ASE's own formats, whose frames lie where their indices say.
_BY_INDEX = {"traj": _trajectory_groups, "db": _database_groups}


def _parsed(data: bytes, source: str, chosen: IOFormat, *, explained: bool) -> list[Atoms]:
    """All frames of a file that was read whole."""
    name = _name(source)
    if not data.strip():
        raise StructureError(f"{name} is empty.")
    text = chosen.acceptsfd and (not chosen.isbinary or chosen.name in _BINARY_TEXT)
    data = cleaned(data) if text else data
    if not explained and not chosen.name.startswith("lammps") and lammps.is_data(data):
        raise StructureError(f"{name} seems to be a LAMMPS data file; read it with --format lammps-data.")
    options = _options(chosen, data, name)
    with _explained(name, chosen.name, hint="" if explained else f" {_HINT}"):
        frames = _read(data, source, chosen, options)
    if not frames:
        raise StructureError(f"{name} holds no structure that can be read as {chosen.name}. {_HINT}")
    _check_count(frames, data, chosen, name)
    return [_checked(atoms, chosen, f"{name}, frame {index}") for index, atoms in enumerate(frames)]


def _checked(atoms: Atoms, chosen: IOFormat, where: str) -> Atoms:
    """A frame without what its reader made up, its constraints in one form."""
    if chosen.name == "lammps-dump-text" and atoms.calc is not None:
        del atoms.calc.results["energy"]  # 0, made up by the reader
    return _simple(atoms, where)


def _simple(atoms: Atoms, where: str) -> Atoms:
    """A frame whose atoms stand once each, its constraints in one form."""
    refuse_images(atoms, where)
    simplify(atoms)
    return atoms


def _check_count(frames: Sequence[Atoms], data: bytes, chosen: IOFormat, name: str) -> None:
    """Refuse a file of one structure that states another number of atoms than its reader has found."""
    line = _COUNT_AT.get(chosen.name)
    if line is None:
        return
    stated = data.split(b"\n", line + 1)[line].split()[0]
    if int(stated) != len(frames[0]):
        raise StructureError(f"{name} states {int(stated)} atoms but has {len(frames[0])}; copy it again.")


def _format(head: bytes, source: str, file_format: str | None) -> IOFormat:
    """The format that was named, or that name and content tell."""
    try:
        return get_ioformat(file_format or filetype(_NamedBytes(cleaned(head[:_HEAD]), _as_told(source))))
    except UnknownFileTypeError:
        raise StructureError(
            f"The format of {_name(source)} cannot be told from its name or content. {_HINT}"
        ) from None


def _as_told(source: str) -> str:
    """The name with its endings in small letters, by which alone ASE tells what they are."""
    path = Path(source)
    if ending_of(path) in COMPRESSED:
        return f"{_as_told(str(path.with_suffix('')))}{ending_of(path)}"
    return str(path.with_suffix(ending_of(path))) if ending_of(path) in _SMALL else source


def _options(chosen: IOFormat, data: bytes, name: str) -> dict[str, Any]:
    if chosen.name == "lammps-data":
        return lammps.data_options(data.decode(errors="replace"), name)
    if chosen.name == "lammps-dump-text":
        return lammps.dump_options(data.decode(errors="replace"), name)
    if chosen.name == "lammps-dump-binary":
        raise StructureError(f"{name} does not say which elements its types are; write a dump as text.")
    return {}


def _read(data: bytes, source: str, chosen: IOFormat, options: dict[str, Any]) -> list[Atoms]:
    """What ASE's reader finds; D and T are known where it fails without."""

    def frames() -> list[Atoms]:
        stream = _stream(data, source, chosen)
        found: Any = ase.io.read(
            stream, index=":", format=chosen.name, do_not_split_by_at_sign=True, parallel=False, **options
        )
        return list(found)

    try:
        return frames()
    except Exception as error:
        if not isotopes.is_unknown(error):
            raise
        original = error
    try:
        with isotopes.known():
            found = frames()
    except Exception:
        raise original from None
    isotopes.resolve(found)
    return found


@contextmanager
def _explained(where: str, form: str, *, hint: str = "") -> Iterator[None]:
    """Turn what a reader raises into a sentence.

    Raises:
        StructureError: in place of whatever was raised.
    """
    try:
        yield
    except (HaloclineError, MemoryError):
        raise
    except Exception as error:  # every one of ASE's readers fails in its own way
        raise StructureError(f"{where} cannot be read as {form}: {_reason(error)}.{hint}") from error


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
