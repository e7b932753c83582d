"""Canonical JSON: one text for one value, so that texts can be hashed and compared."""

from __future__ import annotations

import json
from typing import Any


def to_canonical_json(value: Any) -> str:
    """Write a value with sorted keys, no spaces, and only ASCII control characters escaped.

    Raises:
        TypeError: something in it is not a plain JSON value, or a key is not a string.
        ValueError: a number is not finite.
    """
    _check_keys(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse_strict_json(text: str) -> Any:
    """Read JSON as RFC 8259 has it: neither duplicate keys nor NaN.

    Raises:
        ValueError: the text is not such JSON, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _check_keys(value: Any) -> None:
    """JSON would turn other keys into strings, and a checkpoint would come back different."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
