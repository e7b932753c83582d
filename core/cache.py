"""Where Halocline keeps what it can fetch or make again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from halocline.ownership import make_own_folder


def cache_folder() -> Path:
    """``HALOCLINE_CACHE_DIR``, or the system's place for caches; not made before something is stored in it."""
    return Path(os.environ.get("HALOCLINE_CACHE_DIR") or platformdirs.user_cache_dir("halocline"))


def own_cache(name: str = "") -> Path:
    """The cache folder, or a folder in it, made if it is missing; nobody but the user can write to it.

    Raises:
        OSError: it cannot be made, belongs to another user, or others can write to it.
    """
    folder = cache_folder()
    make_own_folder(folder, link=True)
    if name:
        folder /= name
        make_own_folder(folder)
    return folder
