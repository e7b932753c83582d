"""Runs programs of the IPU backend: on plain torch, or on IPUs through PopTorch.

One file without Halocline, in the syntax of Python 3.8, because PopTorch lives in an interpreter of its own.
It needs torch and numpy, and poptorch for the targets ``ipu`` and ``ipu-model``::

    python runner.py PROGRAM.ipu.zip --target cpu
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = "halocline-ipu-program"
VERSION = 1

#: Members of a program file.
PROGRAM, CONSTANTS = "program.json", "constants.npz"

#: What inputs and constants may be.
DTYPES = ("float32", "int32", "int64", "bool")


class ProgramError(Exception):
    """A program file cannot be used."""


def read_program(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read and verify a program file.

    Args:
        path: of the file.

    Returns:
        The content of ``program.json`` and the constants by name.

    Raises:
        ProgramError: it is damaged, of another version, or no program at all.
        OSError: the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its members are compressed")
            program, constants = (archive.read(name) for name in (PROGRAM, CONSTANTS))
        table = json.loads(program.decode())
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise ValueError("it does not say that it is one")
        if table.get("version") != VERSION:
            raise ProgramError(
                f"{path} is an IPU program of version {table.get('version')}, and version {VERSION} is read here; "
                "export the model again."
            )
        if hashlib.sha256(constants).hexdigest() != table["constants_sha256"]:
            raise ValueError("its constants do not have the digest that it names")
        with np.load(io.BytesIO(constants), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        _check_table(table, arrays)
    except (zipfile.BadZipFile, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ProgramError(f"{path} is damaged, or no IPU program ({error}); export the model again.") from error
    return table, arrays


def _check_table(table: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Require that names are given once, before they are read, and that dtypes and targets are of a known kind."""
    declared = [each["dtype"] for each in table["inputs"]] + [str(array.dtype) for array in arrays.values()]
    for dtype in declared:
        if dtype not in DTYPES:
            raise ValueError(f"it holds {dtype}")
    given = [each["name"] for each in table["inputs"]] + list(arrays)
    for operation in table["operations"]:
        if not re.fullmatch(r"aten\.\w+\.\w+", operation["target"]):
            raise ValueError(f"it calls {operation['target']!r}")
        _check_references([operation["args"], operation["kwargs"]], set(given))
        given.extend(operation["results"])
    if len(set(given)) < len(given):
        raise ValueError("it gives a name twice")
    missing = (set(table["outputs"]) | set(table["parameters"])) - set(given)
    if missing:
        raise ValueError(f"it returns {min(missing)!r}, which nothing gives")
    if not isinstance(table["manifest"], dict):
        raise ValueError("it has no manifest")


def _check_references(value: Any, given: set[str]) -> None:
    if isinstance(value, dict) and "ref" in value and value["ref"] not in given:
        raise ValueError(f"it reads {value['ref']!r} before anything gives it")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_references(part, given)
