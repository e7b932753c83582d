"""Where Halocline keeps what it can fetch or make again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from halocline.errors import UsageError
from halocline.home import NO_HOME, expanded
from halocline.ownership import make_own_folder


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
    """The same, to store something in.

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
