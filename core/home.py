"""The user's home folder, which there need not be."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from halocline.errors import UsageError

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
