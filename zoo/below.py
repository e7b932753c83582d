"""Files of a model in a folder that the user names, or in a folder somewhere below it."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from halocline.errors import ZooError

#: Folders that are looked into; a user who names the root of a disk meant another folder.
MOST_FOLDERS = 20_000

#: Folders that are named where several would do.
_SHOWN = 5


def folder_with(top: Path, names: Collection[str]) -> Path:
    """Find the folder that holds all of some files: ``top`` itself, or the only one below it. No link is followed.

    Raises:
        ZooError: there is none, there are several, or too many folders to look into.
    """
    if _holds(top, names):
        return top
    found = []
    for number, (folder, below, _) in enumerate(os.walk(top)):
        below.sort()
        if number >= MOST_FOLDERS:
            raise ZooError(
                f"{top} has more than {MOST_FOLDERS} folders below it; name the one that holds the model."
            )
        if _holds(Path(folder), names):
            found.append(Path(folder))
    if len(found) > 1:
        shown = ", ".join(map(str, found[:_SHOWN])) + (", …" if len(found) > _SHOWN else "")
        raise ZooError(f"{len(found)} folders below {top} hold {_listed(names)}; name one of them: {shown}.")
    if not found:
        missing = [name for name in names if not (top / name).is_file()]
        raise ZooError(
            f"There is no file {missing[0]} in {top}, and no folder below it that holds {_listed(names)}."
        )
    return found[0]


def _holds(folder: Path, names: Collection[str]) -> bool:
    return all((folder / name).is_file() for name in names)


def _listed(names: Collection[str]) -> str:
    return " and ".join(names)
