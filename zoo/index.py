"""The index: which models there are, where they come from, and the SHA-256 that pins each."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from halocline.errors import ZooError
from halocline.zoo.source import Source, parse_source

#: The index that comes in the box.
SHIPPED_INDEX = Path(__file__).with_name("index.toml")

# Some names are devices on Windows, whatever follows the dot.
_NAME = re.compile(r"(?!(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$))[a-z0-9]+([._-][a-z0-9]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: lower-case letters and digits, joined by single dots, dashes or underscores.
        summary: one sentence.
        backbone: name of the backbone among the plugins.
        species: chemical symbols that the model knows.
        address: the source as the index has it.
        source: where the file comes from.
        size: of the file, bytes.
        sha256: of the file.
        licences: SPDX identifiers of ``code`` and ``weights``.
        citation: what to cite.
    """

    name: str
    summary: str
    backbone: str
    species: tuple[str, ...]
    address: str
    source: Source
    size: int
    sha256: str
    licences: Mapping[str, str]
    citation: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class Index:
    """All models by name.

    Attributes:
        default: name of the model that is taken where none is named.
        entries: the models.
        data: folder of the files that ship.
    """

    default: str
    entries: Mapping[str, Entry]
    data: Path


def read_index(path: Path = SHIPPED_INDEX) -> Index:
    """Read and check an index.

    Raises:
        ZooError: it cannot be read, or an entry is not as it must be.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"Cannot read the zoo's index {path}: {error}.") from error
    models = content.get("models")
    if set(content) != {"default", "models"} or not isinstance(models, dict):
        raise ZooError(f"The zoo's index {path} must have exactly 'default' and a table 'models'.")
    entries = {name: _entry(name, fields) for name, fields in models.items()}
    if not isinstance(content["default"], str) or content["default"] not in entries:
        raise ZooError(f"The zoo's index {path} has no model {content['default']!r}, which is to be the default.")
    return Index(content["default"], entries, path.parent / "data")


def _entry(name: str, fields: Any) -> Entry:
    if not _NAME.fullmatch(name):
        raise ZooError(f"{name!r} cannot name a model: use lower-case letters, digits and single '.', '-', '_'.")
    if not isinstance(fields, dict) or set(fields) != set(_RULES):
        raise ZooError(f"The model {name!r} in the zoo's index must have exactly the fields {', '.join(_RULES)}.")
    for field, (rule, holds) in _RULES.items():
        if not holds(fields[field]):
            raise ZooError(f"The {field} of the model {name!r} must be {rule}, not {fields[field]!r}.")
    return Entry(
        name=name,
        summary=fields["summary"],
        backbone=fields["backbone"],
        species=tuple(fields["species"]),
        address=fields["source"],
        source=parse_source(fields["source"]),
        size=fields["size"],
        sha256=fields["sha256"],
        licences=fields["licence"],
        citation=tuple(fields["citation"]),
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value)


def _are_species(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_text(s) and _SYMBOL.fullmatch(s) for s in value)


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _are_licences(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"code", "weights"} and all(map(_is_text, value.values()))


def _is_citation(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "summary": ("one line of text", _is_text),
    "backbone": ("the name of a backbone", _is_text),
    "species": ("a list of chemical symbols", _are_species),
    "source": ("one line of text", _is_text),
    "size": ("a positive number of bytes", _is_size),
    "sha256": ("64 lower-case hexadecimal digits", _is_sha256),
    "licence": ("a table of code and weights", _are_licences),
    "citation": ("a list of references", _is_citation),
}
