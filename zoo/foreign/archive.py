"""What ``torch.save`` writes: a zip archive of one pickle and the bytes of tensors, never more than it holds."""

from __future__ import annotations

import math
import pickletools
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.foreign.model import show

_PICKLE = "/data.pkl"


@final
class Archive:
    """A file of ``torch.save``, opened for reading.

    Everything in it is stored as it is, so that nothing can unpack to more than the file.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is not there, or is no such archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise CheckpointError(f"There is no file {path}.")
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise CheckpointError(
                f"{path} is not a file of torch.save, or is cut short: {_words(error)}."
            ) from error
        self._entries = {entry.filename: entry for entry in self._zip.infolist()}
        try:
            self._prefix = self._find_prefix()
            self._check_entries()
        except CheckpointError:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()

    @property
    def size(self) -> int:
        """Bytes of everything in it, unpacked."""
        return sum(entry.file_size for entry in self._entries.values())

    def pickle(self) -> bytes:
        """The bytes of the pickle that says what the storages are.

        Raises:
            CheckpointError: it is damaged.
        """
        return self._read(self._prefix + _PICKLE)

    def storage(self, key: str) -> bytes:
        """The bytes of a storage.

        Raises:
            CheckpointError: there is none of this key, or it is damaged.
        """
        return self._read(f"{self._prefix}/data/{key}")

    def _find_prefix(self) -> str:
        """The folder in which everything lies."""
        pickles = [name for name in self._entries if name.endswith(_PICKLE)]
        if len(self._entries) < len(self._zip.infolist()):
            raise CheckpointError(f"{self.path} is not a file of torch.save: it holds a part twice.")
        if len(pickles) != 1:
            raise CheckpointError(f"{self.path} is not a file of torch.save: it must hold exactly one data.pkl.")
        return pickles[0].removesuffix(_PICKLE)

    def _check_entries(self) -> None:
        for name, entry in self._entries.items():
            if not name.startswith(f"{self._prefix}/") or {"", ".", ".."} & set(name.split("/")):
                raise CheckpointError(f"{self.path} holds {show(name)}, which lies outside of its folder.")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise CheckpointError(f"{self.path} holds {show(name)} compressed, as torch.save never does.")
        if self.size > self.path.stat().st_size:
            raise CheckpointError(f"The parts of {self.path} claim more bytes than the file has.")
        order = f"{self._prefix}/byteorder"
        if order in self._entries and self._read(order) != b"little":
            raise CheckpointError(f"{self.path} was not written in little-endian byte order; only that is read.")

    def _read(self, name: str) -> bytes:
        if name not in self._entries:
            raise CheckpointError(f"{self.path} has no part {name!r}, which its pickle names.")
        try:
            return self._zip.read(self._entries[name])
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
            raise CheckpointError(f"The part {name!r} of {self.path} is damaged: {_words(error)}.") from error


def first_name(path: Path) -> str:
    """The first name that the pickle in a file of ``torch.save`` uses, with its module; empty if there is none.

    Raises:
        CheckpointError: it is no such file.
    """
    with Archive(path) as archive:
        try:
            names = (
                argument for code, argument, _ in pickletools.genops(archive.pickle()) if code.name == "GLOBAL"
            )
            return str(next(names, "")).replace(" ", ".")
        except ValueError:  # whoever reads it says what is wrong
            return ""


def texts(path: Path) -> set[str]:
    """The texts in the pickle of a file of ``torch.save``, such as names of tensors; as far as it can be read.

    Raises:
        CheckpointError: it is no such file.
    """
    found: set[str] = set()
    with Archive(path) as archive, suppress(ValueError):  # as above
        found.update(
            str(argument)
            for code, argument, _ in pickletools.genops(archive.pickle())
            if code.name == "BINUNICODE"
        )
    return found


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


#: Classes of storages that a pickle may name, and what their bytes are.
STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.uint8,  # any byte is a number, where a truth value would have to be 0 or 1
}


@final
@dataclass(frozen=True, slots=True)
class Storage:
    """A reference to a storage.

    Attributes:
        key: its name in the archive.
        dtype: of its elements.
    """

    key: str
    dtype: torch.dtype


#: A state dictionary has a layer that belongs to two modules twice, and its bytes once.
_TIMES = 2


@final
class TensorReader:
    """Makes the tensors that a pickle describes."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._left = _TIMES * archive.size
        self._flat: dict[Storage, Tensor] = {}

    def read(self, storage: Storage, offset: Any, size: Any, stride: Any) -> Tensor:
        """Copy a tensor out of a storage.

        Args:
            storage: where its elements lie.
            offset: of the first one.
            size: its shape.
            stride: steps between elements along each axis.

        Raises:
            CheckpointError: the description is none, or reaches beyond the storage or the size of the file.
        """
        path = self._archive.path
        if (
            not _are_counts([offset])
            or not _are_counts(size)
            or not _are_counts(stride)
            or len(size) != len(stride)
        ):
            raise CheckpointError(f"{path} describes a tensor by something else than numbers of elements.")
        flat, count = self._elements(storage), math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        self._left -= count * storage.dtype.itemsize
        if count and (last >= len(flat) or self._left < 0):
            raise CheckpointError(f"{path} describes tensors of more elements than it holds.")
        return flat.as_strided(size, stride, offset).clone() if count else flat.new_empty(size)

    def _elements(self, storage: Storage) -> Tensor:
        if storage not in self._flat:
            data = bytearray(self._archive.storage(storage.key))
            if len(data) % storage.dtype.itemsize:
                raise CheckpointError(f"The storage {storage.key} of {self._archive.path} ends within an element.")
            empty = torch.empty(0, dtype=storage.dtype)
            self._flat[storage] = torch.frombuffer(data, dtype=storage.dtype) if data else empty
        return self._flat[storage]


def _are_counts(value: Any) -> bool:
    """Whether these are a few whole numbers, none negative; no tensor has as many elements as 2⁶³."""
    return (
        isinstance(value, tuple | list)
        and len(value) <= 8
        and all(type(number) is int and 0 <= number < 2**63 for number in value)
    )
