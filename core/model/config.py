"""A backbone's config: a typed dataclass in the model, plain JSON values in a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from halocline.errors import BackboneError, UsageError
from halocline.typed_table import read_table

ConfigT = TypeVar("ConfigT")


def read_config(kind: type[ConfigT], values: Mapping[str, Any], backbone: str) -> ConfigT:
    """Build the dataclass ``kind`` from JSON values; `read_table` says which types its fields may have.

    Raises:
        BackboneError: a field is unknown, missing, of the wrong type, or refused by the dataclass itself.
    """
    try:
        return read_table(kind, values, backbone)
    except UsageError as error:
        raise BackboneError(f"The config of {backbone!r} is wrong. {error}") from error


def to_json(config: Any) -> dict[str, Any]:
    """The config as plain JSON values, fit to be read back."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }
