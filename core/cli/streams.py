"""The standard streams of our own process, made so that no character and no closed end can undo finished work."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from typing import cast

#: Signs of ours whose plain form does not follow from Unicode's decomposition.
_PLAIN = {"±": "+-", "–": "-", "—": "-", "─": "-", "│": "|", "→": "->", "√": "sqrt", "·": ".", "µ": "u", "×": "x"}
_ERRORS = "halocline-plain"


def secure_streams() -> None:
    """Give closed standard streams to the null device, and let output replace what its encoding cannot say.

    Files that are opened later would take the number of a closed stream, and whoever prints would write into them.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it takes the lowest number that is free: this one
    codecs.register_error(_ERRORS, _plainly)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = cast("io.TextIOWrapper | None", getattr(sys, name))
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def abandon_output() -> None:
    """Write nothing more to a standard output that has failed; the interpreter would try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Å as A, ± as +-, and so on; ? for what has no plain form."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    plain = _PLAIN.get(character) or unicodedata.normalize("NFKD", character)
    return plain.encode("ascii", errors="ignore").decode("ascii") or "?"
