"""Few cells of a product of axes that hold every pair of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import TypeVar

#: One value of each axis, in the order of the axes.
CellT = TypeVar("CellT", bound=tuple[str, ...])

#: A value of one axis and a value of another, each after the number of its axis.
Pair = tuple[tuple[int, str], tuple[int, str]]


def cover(cells: Iterable[CellT]) -> list[CellT]:
    """Choose cells until every pair of values that occurs in some cell occurs in a chosen one.

    Values of the first axis are served one after another, with cells of their own, until all their pairs are
    chosen; pairs of other axes that are still missing come last. So one more value of the first axis, after the
    others, leaves the cells of those as they are, and has at most as many as the other axes together have values.

    Args:
        cells: those that can be run, in any number of axes; the first of equally good ones is chosen.
    """
    cells = list(cells)
    missing = {pair for cell in cells for pair in pairs(cell)}
    chosen: list[CellT] = []
    for value in (*dict.fromkeys(cell[0] for cell in cells), None):
        while wanted := {pair for pair in missing if value is None or pair[0] == (0, value)}:
            best = max(cells, key=lambda cell: _gain(cell, wanted, missing))
            chosen.append(best)
            missing -= pairs(best)
    return chosen


def pairs(cell: Sequence[str]) -> set[Pair]:
    """Every two values of a cell."""
    return set(combinations(enumerate(cell), 2))


def _gain(cell: Sequence[str], wanted: set[Pair], missing: set[Pair]) -> tuple[bool, int]:
    """Whether it has a pair that is wanted now, and how many of all that are missing."""
    found = pairs(cell)
    return bool(found & wanted), len(found & missing)
