"""The zoo: models by name, found on this machine or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import final

from halocline.errors import ZooError, unknown_name
from halocline.zoo.cache import cached_path, check_file, digest, shared_path
from halocline.zoo.download import Progress
from halocline.zoo.fetch import fetch
from halocline.zoo.index import SHIPPED_INDEX, Entry, read_index
from halocline.zoo.source import Local, Shipped


@final
class Zoo:
    """The models of an index.

    A model is looked for in the package, the cache, and the shared stores of ``HALOCLINE_MODEL_PATH``, in this
    order; one that is nowhere is fetched from its source.

    Example:
        >>> from halocline.zoo.store import Zoo
        >>> Zoo().path("lennard-jones-argon").name
        'lennard-jones-argon.safetensors'
    """

    def __init__(self, index: Path = SHIPPED_INDEX) -> None:
        self._index = read_index(index)

    @property
    def default(self) -> str:
        """Name of the model that is taken where none is named."""
        return self._index.default

    def names(self) -> list[str]:
        """All names, in the order of the index."""
        return list(self._index.entries)

    def entry(self, name: str) -> Entry:
        """What the index says about a model.

        Raises:
            UsageError: there is no such model.
        """
        if name not in self._index.entries:
            raise unknown_name("model", name, self.names())
        return self._index.entries[name]

    def present(self, name: str) -> bool:
        """Whether a model is on this machine.

        Raises:
            UsageError: there is no such model.
        """
        return self._find(self.entry(name)) is not None

    def path(self, name: str) -> Path:
        """The file of a model, fetched if it is not on this machine.

        Raises:
            UsageError: there is no such model.
            ZooError: it is damaged, or cannot be fetched.
        """
        entry = self.entry(name)
        return self.verify(name) if self._find(entry) else self.pull(name)

    def pull(self, name: str, source: Path | None = None, progress: Progress | None = None) -> Path:
        """Bring a model onto this machine, or repair it.

        Args:
            name: a name of the index.
            source: a file to take instead of the index's source; it must be the same to the byte.
            progress: called with the numbers of bytes that came in.

        Raises:
            UsageError: there is no such model.
            ZooError: it cannot be fetched.
        """
        entry = self.entry(name)
        if isinstance(entry.source, Shipped):
            return self.verify(name)
        shared = shared_path(entry)
        if source is None and shared and digest(shared) == entry.sha256:
            return shared
        origin = Local(source) if source else entry.source
        return fetch(entry, origin, progress or _unseen)

    def verify(self, name: str) -> Path:
        """Compare a model on this machine with the digest in the index.

        Raises:
            UsageError: there is no such model.
            ZooError: it is not there, or damaged.
        """
        entry = self.entry(name)
        path = self._find(entry)
        if path is None:
            raise ZooError(f"{name} is not on this machine; fetch it with: halocline zoo pull {name}")
        remedy = "install Halocline anew" if isinstance(entry.source, Shipped) else f"halocline zoo pull {name}"
        try:
            check_file(entry, path)
        except ZooError as error:
            raise ZooError(f"{name} is damaged: {error} Repair it with: {remedy}") from error
        return path

    def _find(self, entry: Entry) -> Path | None:
        if isinstance(entry.source, Shipped):
            return self._index.data / entry.source.file
        cached = cached_path(entry)
        return cached if cached.is_file() else shared_path(entry)


def _unseen(count: int) -> None:
    del count
