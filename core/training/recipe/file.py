"""The file of a recipe."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from halocline.cache import expanded
from halocline.errors import UsageError, within
from halocline.training.recipe.recipe import Recipe, make_recipe

#: Bytes of a recipe: four times what a model file has room for beside its weights.
LARGEST_FILE: Final = 2**22


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UsageError: there is no such file, it is not TOML, or a key is unknown, missing or impossible.
        CheckpointError: a field of the card is unknown or of the wrong kind.
    """
    with within(str(path)):
        return make_recipe(read_tables(path))


def read_tables(path: Path) -> dict[str, Any]:
    """Read the tables of a recipe, whatever they are.

    Raises:
        UsageError: there is no such file, or it is not TOML.
    """
    return _parse(_read_bytes(path))


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe might never end
            what = "it is a folder, a pipe or a device" if path.exists() else "there is no such file"
            raise UsageError(f"A recipe is a file of TOML, but {what}.")
        with path.open("rb") as stream:
            data = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"The recipe cannot be read: {error.strerror}.") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"A recipe has at most {LARGEST_FILE} bytes, and this file is larger; is it the data?")
    return data


def _parse(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # editors put byte order marks in front
    except UnicodeDecodeError as error:
        raise UsageError(f"The recipe is not UTF-8 text (byte {error.start}); save it as such.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The recipe is not TOML: {error}.") from error
    except RecursionError as error:
        raise UsageError("The recipe is nested too deeply for any that means something.") from error
    except ValueError as error:  # what Python says of numbers that are too long for it
        raise UsageError("The recipe has a number of thousands of digits, or no date of the calendar.") from error


def resolve(file: str, folder: Path) -> Path:
    """Where a file that a recipe in ``folder`` names is.

    Raises:
        UsageError: it names an environment variable that is not set, or a home folder that is not known.
    """
    path = os.path.expandvars(file)
    if "$" in path:
        found = re.search(r"\$\{?(\w+)", path)
        variable = f" {found[1]}" if found else ""
        raise UsageError(f"The file {file!r} names an environment variable{variable} that is not set.")
    return folder / expanded(path, "The file")
