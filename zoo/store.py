"""The zoo: models by name, found on this machine or fetched."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import final
from urllib.parse import urlsplit

from halocline.checkpoint import read_header
from halocline.errors import UsageError, ZooError, unknown_name
from halocline.zoo.cache import (
    cached_path,
    check_file,
    check_sealed,
    digest,
    file_name,
    find_cached,
    is_file,
    is_pinned,
    shared_path,
)
from halocline.zoo.converted import Say, check_converted, find_converted, pull_converted
from halocline.zoo.download import ByteCounter
from halocline.zoo.entry import Entry, Foreign, Imported, Pinned, Unpinned
from halocline.zoo.fetch import fetch
from halocline.zoo.imported import (
    add_checkpoint,
    import_model,
    import_remote,
    imported_entry,
    imported_names,
)
from halocline.zoo.index import SHIPPED_INDEX, read_index
from halocline.zoo.rules import check_name
from halocline.zoo.source import Local, Remote, Shipped, Source, Wheel, folder_with, is_wheel
from halocline.zoo.wheels.simple import split_login


@final
class Zoo:
    """The models of an index, and those that the user imported.

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

    @property
    def universal(self) -> str | None:
        """The audited model with the least error, to try where the default does not fit; None without one."""
        return self._index.universal

    def names(self) -> list[str]:
        """All names: in the order of the index, and then the imported ones."""
        imported = (name for name in imported_names() if name not in self._index.entries)
        return [*self._index.entries, *imported]

    def entry(self, name: str) -> Entry:
        """The entry of a model: its card, its source, and what pins it.

        Raises:
            UsageError: there is no such model.
        """
        known = self._index.entries.get(name)
        if known and not isinstance(known.origin, Unpinned):
            return known
        if name in imported_names():
            return imported_entry(name)
        if known:
            return known
        raise unknown_name("model", name, self.names())

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

    def pull(
        self,
        name: str,
        source: Path | None = None,
        progress: ByteCounter | None = None,
        say: Say | None = None,
        *,
        accepted: bool = False,
        index: str | None = None,
    ) -> Path:
        """Bring a model onto this machine, or repair it.

        Args:
            name: a name of the index.
            source: a file to take instead of the index's source, or the folder that holds it, or them, itself or
                in one folder below it; the same to the byte. Of a model from a wheel also that wheel.
            progress: called with the numbers of bytes that came in.
            say: called with what was done, where that is more than a transfer.
            accepted: whether the user accepted the licence of the weights, where that is asked for.
            index: address of a package index that takes the place of those of the user's pip.

        Raises:
            UsageError: there is no such model, its licence has to be accepted first, or it comes from no package.
            ZooError: it cannot be fetched.
        """
        entry = self.entry(name)
        if entry.terms and not accepted and not self.present(name):
            raise UsageError(
                f"The weights of {name} are under {entry.licences['weights']}, which has to be accepted before "
                f"they are fetched. Read {entry.terms}, then: halocline zoo pull {name} --accept-licence"
            )
        if index is not None:
            _require_package(entry, index, source)
        match entry.origin:
            case Foreign() as origin:
                return pull_converted(entry, origin, source, index, progress or _unseen, say or _unheard)
            case Unpinned(url=url):
                raise ZooError(
                    f"No digest of {url} is published, so nothing tells that what comes from there is {name}. "
                    f"If you trust it, say: halocline zoo import {url} --name {name}"
                )
            case Pinned(source=Local() | Remote() | Wheel()) as pinned:
                return _pull_pinned(pinned, source, index, progress or _unseen)
            case _:
                return self.verify(name)

    def add(self, source: Path | str, name: str, progress: ByteCounter | None = None) -> Path:
        """Convert a model of another package, so that its new name finds it.

        Args:
            source: a folder of MatGL or a file of MatterSim, MACE, SevenNet, Nequix, ORB, JMP or PNNL; or the
                address of such a file, https://HOST/PATH.
            name: none of the index, but that of a model of which no digest is published; an imported model of
                this name is replaced.
            progress: called with the numbers of bytes that came in.

        Raises:
            UsageError: the name is not free, or cannot be one.
            HaloclineError: the model cannot be converted or stored.
        """
        known = self._index.entries.get(name)
        form = known.origin.form if known and isinstance(known.origin, Unpinned) else None
        if form is None:
            self._require_free(name)
        if isinstance(source, str):
            return import_remote(source, name, progress or _unseen, form)
        return import_model(source, name, form=form)

    def add_checkpoint(self, path: Path, name: str | None = None, *, replace: bool = False) -> Path:
        """Keep a checkpoint of the user's own, so that its name finds it.

        Args:
            path: of the file, which is copied.
            name: none of the index; by default the one on the model's card, or that of the file.
            replace: whether an earlier model of the user with this name may go.

        Raises:
            UsageError: the name is not free, or cannot be one.
            HaloclineError: the file is no checkpoint, is damaged, or cannot be stored.
        """
        if not is_file(path):  # a pipe, say
            raise ZooError(f"There is no file {path}.")
        if name is None:
            name = read_header(path).card.get("name") or path.stem
        self._require_free(name)
        return add_checkpoint(path, name, replace=replace)

    def _require_free(self, name: str) -> None:
        if name in self._index.entries:
            raise UsageError(f"{name} is a model of the zoo; keep yours under another name, with --name.")
        try:
            check_name(name)
        except ZooError as error:
            raise UsageError(f"{str(error).rstrip('.')}, with --name.") from error

    def verify(self, name: str) -> Path:
        """Compare a model on this machine with its digest: that in the index, or that of when it was stored.

        Raises:
            UsageError: there is no such model.
            ZooError: it is not there, or damaged.
        """
        entry = self.entry(name)
        path = self._find(entry)
        if path is None:
            raise ZooError(f"{name} is not on this machine; fetch it with: halocline zoo pull {name}")
        try:
            match entry.origin:
                case Pinned() as pinned:
                    check_file(pinned, path)
                case Foreign() as origin:
                    check_converted(origin, path)
                case Imported():
                    check_sealed(path)
        except ZooError as error:
            raise ZooError(f"{name} is damaged: {error} Repair it with: {_remedy(entry)}") from error
        return path

    def _find(self, entry: Entry) -> Path | None:
        match entry.origin:
            case Imported(path=path):
                return path
            case Foreign() as origin:
                return find_converted(origin)
            case Unpinned():
                return None
            case Pinned(source=Shipped(file=file)):
                return self._index.data / file
            case pinned:
                cached = find_cached(file_name(pinned))
                if cached and is_pinned(pinned, cached):
                    return cached
                shared = shared_path(pinned)
                # Of two that are damaged, the user can repair the one in the cache.
                return cached if cached and not (shared and is_pinned(pinned, shared)) else shared


def _require_package(entry: Entry, index: str, source: Path | None) -> None:
    """Refuse an index for what comes from none, or one that is none."""
    if not entry.address.startswith("pypi:"):
        raise UsageError(f"{entry.name} comes from no package, so --index cannot say where it is.")
    if source is not None:
        raise UsageError("--index and --from both say where the model is; give one of them.")
    split_login(index)


def _pull_pinned(pinned: Pinned, source: Path | None, index: str | None, progress: ByteCounter) -> Path:
    """Fetch a checkpoint into the cache, unless a shared store has it."""
    shared = shared_path(pinned)
    if source is None and shared and digest(shared) == pinned.sha256:
        return shared
    if source is not None and source.is_dir():
        source = _file_in(source, pinned)
    origin = Local(source) if source else pinned.source
    if isinstance(pinned.source, Wheel) and (source is None or is_wheel(source)):
        origin = dataclasses.replace(pinned.source, index=index, file=source)
    assert not isinstance(origin, Shipped)
    return fetch(pinned, origin, cached_path(pinned), progress)


def _file_in(folder: Path, pinned: Pinned) -> Path:
    """A checkpoint in a folder or below it, by the names that the zoo itself and its source have for it."""
    names = dict.fromkeys([f"{pinned.name}.safetensors", file_name(pinned), _last_part(pinned.source)])
    there = next((name for name in names if (folder / name).is_file()), None)
    if there:
        return folder / there
    failures = []
    for name in names:
        try:
            return folder_with(folder, [name], partial(_holds, pinned, name)) / name
        except ZooError as error:
            failures.append(error)
    raise next((each for each in failures if "name one of them" in str(each)), failures[0])


def _holds(pinned: Pinned, name: str, folder: Path) -> bool:
    """Whether the file of that name in a folder is the pinned one."""
    return is_pinned(pinned, folder / name)


def _last_part(source: Source) -> str:
    match source:
        case Wheel(member=member):
            return Path(member).name
        case Local(path=path):
            return path.name
        case Remote(url=url):
            return Path(urlsplit(url).path).name
        case Shipped(file=file):
            return file


def _remedy(entry: Entry) -> str:
    match entry.origin:
        case Imported():
            name = entry.name
            return f"halocline zoo import PATH --name {name}, or halocline zoo add FILE --name {name} --replace"
        case Pinned(source=Shipped()):
            return "install Halocline anew"
        case _:
            return f"halocline zoo pull {entry.name}"


def _unseen(count: int) -> None:
    del count


def _unheard(sentence: str) -> None:
    del sentence
