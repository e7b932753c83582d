"""Where Halocline keeps what it can fetch or make again; and the home of the user, which there need not be."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

import platformdirs

from halocline.errors import UsageError
from halocline.ownership import make_own_folder

#: Takes the place of a home where there is none: nothing is found below it, and nobody can make anything there.
NO_HOME: Final = Path(os.devnull)


def require_home(environment: MutableMapping[str, str]) -> None:
    """Have a home known, since libraries, ASE among them, cannot be imported where there is none.

    A user whom the system does not know, as in many containers, has none unless HOME says so.
    """
    try:
        Path.home()
    except RuntimeError:
        environment["HOME"] = str(NO_HOME)


def expanded(path: str, what: str) -> Path:
    """A path with the home folder in the place of ``~`` or ``~USER``.

    Args:
        path: as the user wrote it.
        what: it is, for messages: "The data file".

    Raises:
        UsageError: that home folder is not known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{what} {path!r} is in a home folder that is not known here; write its whole path."
        ) from error


def find_cache() -> Path | None:
    """``HALOCLINE_CACHE_DIR``, or the system's place for caches; not made before something is stored in it.

    None where there is no such place, as for a user without a home: nothing is kept, then.

    Raises:
        UsageError: HALOCLINE_CACHE_DIR is in a home folder that is not known.
    """
    if named := os.environ.get("HALOCLINE_CACHE_DIR"):
        return expanded(named, "HALOCLINE_CACHE_DIR")
    try:
        folder = Path(platformdirs.user_cache_dir("halocline"))
    except RuntimeError:  # no home
        return None
    return folder if folder.is_absolute() and NO_HOME not in folder.parents else None


def cache_folder() -> Path:
    """The folder of `find_cache`, for whoever has to store something; it may have to be made.

    Raises:
        UsageError: there is none.
    """
    folder = find_cache()
    if folder is None:
        raise UsageError(
            f"There is no place to keep files: HOME is {os.environ.get('HOME')!r}, which is no home folder. "
            "Name a folder in HALOCLINE_CACHE_DIR."
        )
    return folder


def own_cache(name: str = "") -> Path:
    """The cache folder, or a folder in it, made if it is missing; nobody but the user can write to it.

    Raises:
        UsageError: there is no place for it.
        OSError: it cannot be made, belongs to another user, or others can write to it.
    """
    folder = cache_folder()
    make_own_folder(folder, link=True)
    if name:
        folder /= name
        make_own_folder(folder)
    return folder
