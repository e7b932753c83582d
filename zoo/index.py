"""The index: which models there are, where they come from, and the SHA-256 that pins each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from halocline.checkpoint.card import check_card
from halocline.errors import CheckpointError, ZooError
from halocline.zoo.entry import TOLERANCE, Audit, Entry, Foreign, Pinned, Reference, Unmeasured, Unpinned
from halocline.zoo.rules import (
    AUDIT,
    CHECKPOINT,
    FILE,
    FILES_OF_FORMATS,
    FOREIGN,
    STRUCTURE,
    UNMEASURED,
    UNPINNED,
    Rules,
    check_fields,
    check_name,
)
from halocline.zoo.source import parse_source, remote

#: The index that comes in the box.
SHIPPED_INDEX = Path(__file__).with_name("index.toml")

#: Formats of models of which hardly any energies are published.
_WITHOUT_ENERGIES = ("mace", "orb")

#: Fields of a card that an index has in the entry itself, or that conversion writes.
_NOT_OF_CARD = {"name", "summary", "citation", "licence", "recipe"}


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

    @property
    def universal(self) -> str | None:
        """The model for any use whose audit has the least error of the volumes of elements; None without one."""
        audited = {name: entry.audit for name, entry in self.entries.items() if entry.audit and not entry.terms}
        return min(audited, key=lambda name: audited[name].elements_volume_error, default=None)


def read_index(path: Path = SHIPPED_INDEX) -> Index:
    """Read and check an index.

    Raises:
        ZooError: it cannot be read, or an entry is not as it must be.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"Cannot read the zoo's index {path}: {error}.") from error
    models, structures = content.get("models"), content.get("structures", {})
    known = {"default", "models"} <= set(content) <= {"default", "models", "structures"}
    if not known or not isinstance(models, dict) or not isinstance(structures, dict):
        raise ZooError(
            f"The zoo's index {path} must have 'default' and a table 'models', and may have a table 'structures'."
        )
    for name, fields in structures.items():
        _check_structure(name, fields)
    entries = {name: _entry(name, fields, structures) for name, fields in models.items()}
    default = content["default"]
    if not isinstance(default, str) or default not in entries:
        raise ZooError(f"The zoo's index {path} has no model {default!r}, which is to be the default.")
    return Index(default, entries, path.parent / "data")


def _check_structure(name: str, fields: Any) -> None:
    what = f"The structure {name!r} in the zoo's index"
    check_fields(what, fields, STRUCTURE)
    if len(fields["symbols"]) != len(fields["positions"]):
        raise ZooError(f"{what} must have as many positions as symbols.")


def _entry(name: str, fields: Any, structures: Mapping[str, Any]) -> Entry:
    check_name(name)
    audit: Audit | None = None
    if isinstance(fields, dict) and "audit" in fields:
        fields = dict(fields)
        audit = _audit(name, fields.pop("audit"))
    check_fields(f"The model {name!r} in the zoo's index", fields, _rules(fields))
    if "files" in fields:
        origin: Foreign | Unpinned | Pinned = _foreign(name, fields, structures)
    elif "format" in fields:
        origin = Unpinned(fields["format"], remote(fields["source"]).url)
    else:
        origin = Pinned(name, parse_source(fields["source"]), fields["size"], fields["sha256"])
    return Entry(
        name=name,
        summary=fields["summary"],
        backbone=fields["backbone"],
        species=tuple(fields["species"]),
        address=fields["source"],
        origin=origin,
        licences={part: fields["licence"][part] for part in ("code", "weights")},
        terms=fields["licence"].get("terms"),
        citation=tuple(fields["citation"]),
        audit=audit,
    )


def _rules(fields: Any) -> Rules:
    """Those of a checkpoint, of files of another package, or of one whose digest nobody has published."""
    if not isinstance(fields, dict) or "format" not in fields:
        return CHECKPOINT
    return FOREIGN if set(fields) - set(UNPINNED) else UNPINNED


def _audit(name: str, fields: Any) -> Audit:
    check_fields(f"The audit of the model {name!r} in the zoo's index", fields, AUDIT)
    return Audit(**fields)


def _foreign(name: str, fields: Mapping[str, Any], structures: Mapping[str, Any]) -> Foreign:
    _check_card(name, fields["card"])
    if unknown := set(fields["energies"]) - set(structures):
        raise ZooError(
            f"The model {name!r} has energies of {unknown.pop()!r}, which is no structure of the index."
        )
    if not fields["energies"] and fields["format"] not in _WITHOUT_ENERGIES:
        raise ZooError(f"The model {name!r} must have an energy of a structure, with which it is compared.")
    return Foreign(
        form=fields["format"],
        files=_files(name, fields),
        card=fields["card"],
        references=tuple(
            reference
            for key, value in fields["energies"].items()
            for reference in _references(key, structures[key], value)
        ),
    )


def _files(name: str, fields: Mapping[str, Any]) -> dict[str, Pinned | Unmeasured]:
    """The files of a model, below its source."""
    base: str = fields["source"]
    files: dict[str, Pinned | Unmeasured] = {}
    if not base.startswith(("https:", "http:", "file:", "pypi:")) or not base.endswith("/"):
        raise ZooError(
            f"The source of the model {name!r} must be a folder: https://HOST/PATH/, file:/PATH/ or "
            "pypi:PACKAGE==VERSION/PATH/."
        )
    for file in fields["files"]:
        is_measured = not isinstance(file, dict) or "size" in file or base.startswith("pypi:")
        check_fields(f"A file of the model {name!r} in the zoo's index", file, FILE if is_measured else UNMEASURED)
        source = parse_source(base + file["name"])
        files[file["name"]] = (
            Pinned(name, source, file["size"], file["sha256"])
            if is_measured
            else Unmeasured(name, source, file["sha256"])
        )
    expected = FILES_OF_FORMATS[fields["format"]]
    if set(files) != expected if expected else len(files) != 1:
        words = " and ".join(sorted(expected)) if expected else "one file"
        raise ZooError(f"The files of the model {name!r} must be {words}, as its format has them.")
    return files


def _check_card(name: str, card: dict[str, Any]) -> None:
    if taken := set(card) & _NOT_OF_CARD:
        raise ZooError(f"The card of the model {name!r} must not have {taken.pop()!r}, which the entry has.")
    try:
        check_card(card)
    except CheckpointError as error:
        raise ZooError(f"The card of the model {name!r} is not one: {error}") from error


def _references(name: str, fields: Mapping[str, Any], known: float | Mapping[str, Any]) -> list[Reference]:
    """Of a structure: one, or one for each head."""
    symbols = tuple(fields["symbols"])
    positions, cell = (tuple(map(tuple, fields[key])) for key in ("positions", "cell"))
    of_heads: Mapping[str | None, float]
    if not isinstance(known, Mapping):
        of_heads, tolerance = {None: known}, TOLERANCE
    elif "heads" in known:
        of_heads, tolerance = known["heads"], TOLERANCE
    else:
        of_heads, tolerance = {None: known["energy"]}, known["within"]
    return [Reference(name, symbols, positions, cell or None, e, tolerance, head) for head, e in of_heads.items()]
