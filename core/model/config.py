"""Read a backbone's JSON config into a typed dataclass, with errors that name the field."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from halocline.errors import BackboneError

ConfigT = TypeVar("ConfigT")


def read_config(kind: type[ConfigT], values: Mapping[str, Any], backbone: str) -> ConfigT:
    """Build the dataclass ``kind`` from JSON values.

    Raises:
        BackboneError: a field is unknown or missing.
    """
    assert dataclasses.is_dataclass(kind)
    fields = dataclasses.fields(kind)
    unknown = sorted(set(values) - {f.name for f in fields})
    if unknown:
        raise BackboneError(
            f"The config of {backbone!r} has unknown fields {', '.join(unknown)}; "
            f"this version knows {', '.join(f.name for f in fields)}."
        )
    required = {
        f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(values))
    if missing:
        raise BackboneError(f"The config of {backbone!r} lacks {', '.join(missing)}.")
    frozen = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return kind(**frozen)


def to_json(config: Any) -> dict[str, Any]:
    """The config as plain JSON values, fit to be read back."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }
