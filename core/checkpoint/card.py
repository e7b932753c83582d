"""Model cards: what a user should know before trusting a model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from halocline.errors import CheckpointError, unknown_name
from halocline.typed_table import shown


@final
@dataclass(frozen=True, slots=True)
class CardField:
    """One field of a card.

    Attributes:
        kind: what its value is, in words.
        accepts: whether a value is of that kind.
        meaning: what it says.
    """

    kind: str
    accepts: Callable[[Any], bool]
    meaning: str


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_table_of_texts(value: Any) -> bool:
    return _is_table(value) and all(map(_is_text, value.values()))


def _is_table_of_values(value: Any) -> bool:
    return _is_table(value) and all(isinstance(item, str | int | float) for item in value.values())


def _is_lineage(value: Any) -> bool:
    while _is_table(value) and all(isinstance(value[name], str | int) for name in set(value) - {"parent"}):
        if "parent" not in value:
            return True
        value = value["parent"]
    return False


def _are_licences(value: Any) -> bool:
    return _is_table_of_texts(value) and set(value) == {"code", "weights"}


def _are_distances(value: Any) -> bool:
    return _is_table(value) and all(
        _is_text(pair) and _PAIR.fullmatch(pair) and type(d) in (int, float) and 0.0 < d < math.inf
        for pair, d in value.items()
    )


def _are_neighbours(value: Any) -> bool:
    return _is_table(value) and all(
        _is_text(symbol) and _SYMBOL.fullmatch(symbol) and _is_range(seen) for symbol, seen in value.items()
    )


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(type(count) is int for count in value)
        and 0 <= value[0] <= value[1]
    )


_SYMBOL = re.compile(r"[A-Z][a-z]?")
_PAIR = re.compile(f"{_SYMBOL.pattern}-{_SYMBOL.pattern}")

#: Every field that a card may have; all are optional, others are refused.
CARD_FIELDS = {
    "name": CardField("a string", _is_text, "name in the zoo"),
    "summary": CardField("a string", _is_text, "one sentence: for what it is good"),
    "level_of_theory": CardField("a string", _is_text, "what the energies approximate, such as revPBE0-D3"),
    "training_data": CardField("a string", _is_text, "how many structures, from where, under which licence"),
    "citation": CardField("a list of strings", _is_list_of_texts, "what to cite, one reference each"),
    "licence": CardField("a table of code and weights", _are_licences, "SPDX identifiers"),
    "errors": CardField("a table of numbers or strings", _is_table_of_values, "measured; units in the keys"),
    "recipe": CardField("a table", _is_table, "settings of the run that made the model"),
    "units": CardField("a table of strings", _is_table_of_texts, "quantity → unit"),
    "shortest_distances": CardField(
        "a table of pairs of elements, such as H-O, and lengths above 0",
        _are_distances,
        "Å, in the training data; pairs that are missing were never neighbours",
    ),
    "neighbours": CardField(
        "a table of elements and two counts, the lower first",
        _are_neighbours,
        "fewest and most neighbours within the cutoff of any atom in the training data",
    ),
    "parent": CardField(
        "a table of texts and whole numbers, with another such table of its own parent",
        _is_lineage,
        "of a model that was fitted from another: its name, SHA-256, licence, level of theory, what was pruned",
    ),
    "direct_forces": CardField(
        "a table of numbers or strings",
        _is_table_of_values,
        "of a model whose forces are no derivative of its energy: their curl, with units in the keys, and where "
        "it was measured",
    ),
    "compression": CardField(
        "a table of numbers or strings",
        _is_table_of_values,
        "of a model with tables of its radial functions: SHA-256 of the exact one, kernel, elements, errors",
    ),
    "notes": CardField("a string", _is_text, "known limits and anything else"),
}


def check_card(card: dict[str, Any]) -> None:
    """Check the fields of a card and the kinds of their values.

    Raises:
        CheckpointError: a field is unknown, or its value is of another kind.
    """
    for name, value in card.items():
        if name not in CARD_FIELDS:
            raise CheckpointError(str(unknown_name("field of a model card", name, CARD_FIELDS)))
        if not CARD_FIELDS[name].accepts(value):
            raise CheckpointError(f"The card field {name!r} is {CARD_FIELDS[name].kind}, not {shown(value)}.")
