"""What a value of a recipe may be, whatever its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.data import atomic_numbers

from halocline.canonical import to_canonical_json
from halocline.errors import UsageError
from halocline.typed_table import shown


def require(holds: bool, key: str, rule: str, value: Any) -> None:
    """Refuse a value that breaks its rule.

    Raises:
        UsageError: it does; the message has key, rule and value.
    """
    if not holds:
        raise UsageError(f"{key} must be {rule}, not {shown(value)}.")


def is_name(text: str) -> bool:
    """Whether text can be a path or the name of a label: not empty, without NUL, and Unicode."""
    return bool(text.strip()) and "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def is_symbol(value: Any) -> bool:
    """Whether a value is a chemical symbol."""
    return isinstance(value, str) and atomic_numbers.get(value, 0) > 0


def check_plain(table: Mapping[str, Any], where: str) -> None:
    """Refuse what a model file cannot hold, by key: dates, and numbers that are not finite, say."""
    for key, value in table.items():
        try:
            to_canonical_json({key: value})
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{where}.{key} cannot be kept in a model: {error}. Text, finite numbers, "
                "true, false, and lists and tables of these can."
            ) from error
