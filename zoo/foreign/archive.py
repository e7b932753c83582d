"""The container that ``torch.save`` writes: a zip archive of one pickle and the bytes of the tensors."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import final

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


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
