"""Canonical JSON: one text for one value, so that texts can be hashed and compared."""

from __future__ import annotations

import json
import math
import reprlib
from typing import Any

#: Characters of -2^63.
_LONGEST_WHOLE_NUMBER = 20


def to_canonical_json(value: Any) -> str:
    """Write a value with sorted keys, no spaces, and only ASCII control characters escaped.

    Raises:
        TypeError: something in it is not a plain JSON value, or a key is not a string.
        ValueError: a number is not finite, a text is not Unicode, or it is nested too deeply.
    """
    try:
        _check_keys(value)
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it holds half of a character (a lone surrogate), which no UTF-8 has")
    return text


def parse_strict_json(text: str) -> Any:
    """Read JSON as RFC 8259 has it: neither duplicate keys nor NaN, and numbers that other programs read too.

    Raises:
        ValueError: the text is not such JSON, is nested too deeply, or has a whole number of more than 64 bits or
            a number that float64 does not hold.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_int=_parse_whole_number,
            parse_float=_parse_number,
        )
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
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {reprlib.repr(key)} occurs twice")
        result[key] = value
    return result


def _parse_whole_number(text: str) -> int:
    if len(text) > _LONGEST_WHOLE_NUMBER or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"the whole number {reprlib.repr(text)} has more than 64 bits")
    return int(text)


def _parse_number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {reprlib.repr(text)} is too large")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
