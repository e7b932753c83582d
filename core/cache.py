"""Where Halocline keeps what it can fetch or make again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """``HALOCLINE_CACHE_DIR``, or the system's place for caches; not made before something is stored in it."""
    return Path(os.environ.get("HALOCLINE_CACHE_DIR") or platformdirs.user_cache_dir("halocline"))
