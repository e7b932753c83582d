"""What people read of a model: the whole is for programs, which take it as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

#: Lists of numbers are written out up to here; of longer ones their first ranges are.
_LONGEST = 12
_RANGES = 6

_WHOLE = "the whole with --json"


def shown(model: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a model as text, without what is said in two places.

    Args:
        model: all that is known of it, as `halocline zoo show --json` prints it.

    Returns:
        Text by name; mappings stay mappings.
    """
    first = {name: value for name, value in model.items() if name not in ("config", "card")}
    parts = {name: dict(model[name]) for name in ("config", "card") if name in model}
    _drop_repeats(parts.get("config", {}), first)
    card = parts.get("card", {})
    _drop_repeats(card, {**first, "licence": first["licences"]})
    if recipe := _copied(card, "recipe"):
        if network := _copied(recipe, "model"):
            _drop_repeats(network, {"backbone": first["backbone"]})
            if config := _copied(network, "config"):
                _drop_repeats(config, model["config"])
        if isinstance(frames := recipe.get("frames"), Mapping):
            recipe["frames"] = _frames(frames)
    return {name: _text(value) for name, value in {**first, **parts}.items()}


def _copied(table: dict[str, Any], name: str) -> dict[str, Any]:
    """A mapping in the table, copied there so that it can be changed; empty if it is none."""
    if isinstance(table.get(name), Mapping):
        table[name] = dict(table[name])
        copy: dict[str, Any] = table[name]
        return copy
    return {}


def _drop_repeats(table: dict[str, Any], said: Mapping[str, Any]) -> None:
    for name in [name for name, value in table.items() if name in said and said[name] == value]:
        del table[name]


def _frames(frames: Mapping[str, Any]) -> dict[str, Any]:
    """How many frames served what, and which, in short."""
    total = sum(len(numbers) for numbers in frames.values() if isinstance(numbers, Sequence))
    return {
        name: f"{len(numbers):,} of {total:,}: {_text(numbers)}" if _are_integers(numbers) else numbers
        for name, numbers in frames.items()
    }


def _text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _text(item) for name, item in value.items()}
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, list | tuple):
        return str(value)
    if _are_integers(value) and len(value) > _LONGEST:
        return _in_ranges(value)
    if len(value) > _LONGEST and all(type(item) is float for item in value):
        return f"{len(value)} numbers ({_WHOLE})"
    items = [str(_text(item)) for item in value]
    return (";\n" if any("," in item for item in items) else ", ").join(items)


def _are_integers(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(type(item) is int for item in value)


def _in_ranges(numbers: Sequence[int]) -> str:
    """The first ranges of many numbers, in increasing order."""
    ordered = sorted(set(numbers))
    runs = [
        [number for _, number in run] for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])
    ]
    first = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:_RANGES])
    return f"{first}, … ({_WHOLE})" if len(runs) > _RANGES else first
