"""What the fields of an index may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from halocline.errors import ZooError

# Some names are devices on Windows, whatever follows the dot.
_NAME = re.compile(r"(?!(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$))[a-z0-9]+([._-][a-z0-9]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SYMBOL = re.compile(r"[A-Z][a-z]?")

#: Files of the formats of other packages; the one file of all others may have any name.
FILES_OF_FORMATS = {
    "matgl": {"model.json", "state.pt"},
    "mattersim": None,
    "mace": None,
    "sevennet": None,
    "nequix": None,
    "chgnet": None,
    "orb": None,
    "jmp": None,
}
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

#: Field → what it must be in words, and whether a value is that.
Rules = Mapping[str, tuple[str, Callable[[Any], bool]]]


def check_name(name: str) -> None:
    """Refuse a name that could be anything but a name.

    Raises:
        ZooError: it has other characters.
    """
    if not _NAME.fullmatch(name):
        raise ZooError(f"{name!r} cannot name a model: use lower-case letters, digits and single '.', '-', '_'.")


def check_fields(what: str, fields: Any, rules: Rules) -> None:
    """Check that a table has exactly the fields of some rules, and that each holds what it must.

    Raises:
        ZooError: it does not; ``what`` is named.
    """
    if not isinstance(fields, dict) or set(fields) != set(rules):
        raise ZooError(f"{what} must have exactly the fields {', '.join(rules)}.")
    for field, (words, holds) in rules.items():
        if not holds(fields[field]):
            raise ZooError(f"The {field} of {what[0].lower()}{what[1:]} must be {words}, not {fields[field]!r}.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value)


def _are_symbols(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_text(s) and _SYMBOL.fullmatch(s) for s in value)


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _are_licences(value: Any) -> bool:
    if not isinstance(value, dict) or not {"code", "weights"} <= set(value) <= {"code", "weights", "terms"}:
        return False
    return all(map(_is_text, value.values())) and value.get("terms", "https://").startswith("https://")


def _is_citation(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _are_vectors(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(vector, list) and len(vector) == 3 and all(map(_is_number, vector)) for vector in value
    )


def _is_energy(value: Any) -> bool:
    if isinstance(value, dict) and set(value) == {"heads"}:
        heads = value["heads"]
        return isinstance(heads, dict) and bool(heads) and all(map(_is_number, heads.values()))
    if isinstance(value, dict):  # one that was published with fewer digits than float64 has
        return set(value) == {"energy", "within"} and all(map(_is_number, value.values())) and value["within"] > 0
    return _is_number(value)


def _are_energies(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_energy, value.values()))


_COMMON: Rules = {
    "summary": ("one line of text", _is_text),
    "backbone": ("the name of a backbone", _is_text),
    "species": ("a list of chemical symbols", _are_symbols),
    "source": ("one line of text", _is_text),
    "licence": ("a table of code and weights, and of terms that have to be accepted", _are_licences),
    "citation": ("a list of references", _is_citation),
}
_BYTES: Rules = {
    "size": ("a positive number of bytes", _is_size),
    "sha256": ("64 lower-case hexadecimal digits", _is_sha256),
}


def _is_error(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


_ERROR, _COUNT = ("a number of per cent", _is_error), ("a number of crystals", _is_count)

#: Of an audit, which a model may have.
AUDIT: Rules = {
    "elements_volume_error": _ERROR,
    "elements_bulk_modulus_error": _ERROR,
    "elements_no_minimum": _COUNT,
    "elements_not_known": _COUNT,
    "compounds_volume_error": _ERROR,
    "compounds_no_minimum": _COUNT,
}

#: Of a model that is a checkpoint.
CHECKPOINT: Rules = {**_COMMON, **_BYTES}

#: Of a model in the format of another package.
FOREIGN: Rules = {
    **_COMMON,
    "format": (" or ".join(FILES_OF_FORMATS), lambda value: isinstance(value, str) and value in FILES_OF_FORMATS),
    "files": ("a list of tables", lambda value: isinstance(value, list) and bool(value)),
    "card": ("a table", lambda value: isinstance(value, dict)),
    "energies": (
        "a table of eV per atom by structure: numbers, or tables of energy and within, or of heads",
        _are_energies,
    ),
}

#: Of such a model in one file of which no digest is published; its source is that file.
UNPINNED: Rules = {**_COMMON, "format": FOREIGN["format"]}

#: Of a file of such a model whose size nobody has published.
UNMEASURED: Rules = {
    "name": ("a plain file name", lambda v: isinstance(v, str) and bool(_FILE_NAME.fullmatch(v))),
    "sha256": _BYTES["sha256"],
}

#: Of any other one.
FILE: Rules = {**UNMEASURED, **_BYTES}

#: Of a structure with known energies.
STRUCTURE: Rules = {
    "symbols": ("a list of chemical symbols", _are_symbols),
    "positions": ("a list of vectors", _are_vectors),
    "cell": ("three vectors, or none", lambda value: _are_vectors(value) and len(value) in (0, 3)),
}
