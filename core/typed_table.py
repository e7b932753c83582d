"""Hold values to the types that a dataclass declares, where they enter: from TOML or JSON, or from a caller."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from halocline.errors import UsageError, unknown_name

TableT = TypeVar("TableT")

#: Whole numbers from here on, of either sign, have more than 64 bits.
_TOO_LARGE = 2**63

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", dict: "a table"}


def read_table(kind: type[TableT], values: Any, where: str) -> TableT:
    """Build the dataclass ``kind`` from what TOML or JSON holds.

    Fields may be int, float, str, bool, Literal of texts, tuple of one of these, dict, another dataclass, one of
    several of these, or None. A field whose key is a word of Python ends in an underscore, which its key does not.

    Args:
        kind: a dataclass.
        values: a table.
        where: its name in the file, for messages; empty for the whole file.

    Raises:
        UsageError: a key is unknown or missing, or its value is of the wrong type.
    """
    assert dataclasses.is_dataclass(kind)
    if not isinstance(values, Mapping):
        raise UsageError(f"[{where}] must be a table, not {shown(values)}.")
    fields = {_key_of(field): field for field in dataclasses.fields(kind)}
    for name in values:
        if not isinstance(name, str):
            raise UsageError(f"Keys are text; [{where}] has {shown(name)}.")
        if name not in fields:
            raise unknown_name(f"key in [{where}]" if where else "table in the configuration", name, fields)
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in values and not optional:
            raise UsageError(f"The configuration lacks {_key(where, name)}.")
    hints = get_type_hints(kind)
    names = {key: field.name for key, field in fields.items()}
    return kind(
        **{names[key]: _convert(hints[names[key]], value, _key(where, key)) for key, value in values.items()}
    )


def as_table(instance: Any) -> Any:
    """The dataclass as values that `read_table` takes: dicts of keys and values, and lists, nested as it is."""
    if dataclasses.is_dataclass(instance):
        return {_key_of(field): as_table(getattr(instance, field.name)) for field in dataclasses.fields(instance)}
    if isinstance(instance, list | tuple):
        return [as_table(each) for each in instance]
    return instance


def settle_fields(instance: Any, table: str = "") -> None:
    """Hold the fields of a frozen dataclass to their annotations, for its ``__post_init__``.

    A whole number will do for a float, and numbers of NumPy become Python's: nothing else is converted, so that
    ``"False"`` is no truth value and 2.5 is no number of steps.

    Args:
        instance: a dataclass whose fields have types that `read_table` takes.
        table: its name in a file, for messages; without one, fields are called by their words.

    Raises:
        UsageError: a value is of another type.
    """
    hints = get_type_hints(type(instance))
    for field in dataclasses.fields(instance):
        value = plain_number(getattr(instance, field.name))
        hint = hints[field.name]
        if value is not None or type(None) not in get_args(hint):
            key = _key_of(field)
            value = _convert(hint, value, _key(table, key) if table else key.replace("_", " "))
        object.__setattr__(instance, field.name, value)


def plain_number(value: Any) -> Any:
    """Python's number in the place of NumPy's or of a tensor without dimensions; all else as it is."""
    return value.item() if getattr(value, "shape", None) == () else value


def _key_of(field: dataclasses.Field[Any]) -> str:
    return field.name.removesuffix("_")


def _key(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _convert(hint: Any, value: Any, key: str) -> Any:
    """Check one value against its annotation."""
    if get_origin(hint) in (UnionType, Union):  # the latter where a Literal is among the choices
        if value is None:
            return None
        choices = [choice for choice in get_args(hint) if choice is not type(None)]
        hint = next((choice for choice in choices if type(value) is choice), choices[0])
        if type(value) is not hint and len(choices) > 1:
            raise UsageError(f"{key} must be {' or '.join(_WORDS[each] for each in choices)}, not {shown(value)}.")
    origin = get_origin(hint) or hint
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if type(value) is hint:  # settled when it was made
            return value
        return read_table(hint, value, key)
    if origin is Literal:
        return _choose(get_args(hint), value, key)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{key} must be a list, not {shown(value)}.")
        return tuple(_convert(get_args(hint)[0], item, f"{key}[{i}]") for i, item in enumerate(value))
    if type(value) is int and origin in (int, float) and abs(value) >= _TOO_LARGE:
        raise UsageError(f"{key} is a whole number of more than 64 bits, which no setting is.")
    if origin is float and type(value) is int:
        return float(value)
    if type(value) is not origin:
        raise UsageError(f"{key} must be {_WORDS[origin]}, not {shown(value)}.")
    return value


def differences(before: Any, after: Any, key: str = "") -> list[str]:
    """The keys whose values differ between two tables, with both values.

    Args:
        before: a table, or what is under `key`.
        after: likewise.
        key: the names of the tables around, for messages.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted(before.keys() | after.keys())
        return [line for name in names for line in differences(before.get(name), after.get(name), _key(key, name))]
    return [] if before == after else [f"{key} was {before!r}, now it is {after!r}"]


def shown(value: Any) -> str:
    """A value for a message: short, and without its digits where Python refuses to write so many."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _choose(choices: tuple[str, ...], value: Any, key: str) -> Any:
    if not isinstance(value, str) or value not in choices:
        raise UsageError(f"{key} must be {' or '.join(map(repr, choices))}, not {shown(value)}.")
    return value
