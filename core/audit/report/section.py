"""Parts of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Table:
    """Attributes: a title, headings, and rows of as many cells each."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@final
@dataclass(frozen=True, slots=True)
class Picture:
    """Attributes: the name of a PNG in the folder of the audit, and what is seen on it."""

    name: str
    caption: str


@final
@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report.

    Attributes:
        title: above it.
        sentences: paragraphs, first.
        tables: next; those without rows are left out.
        pictures: last; those that are not in the folder are left out.
    """

    title: str
    sentences: Sequence[str] = field(default_factory=list)
    tables: Sequence[Table] = field(default_factory=list)
    pictures: Sequence[Picture] = field(default_factory=list)


def number(value: float | None) -> str:
    """A number for a table: two decimals, or two digits if it is small; a dash for what there is not."""
    if value is None:
        return "–"
    if value == 0.0 or abs(value) >= 0.1:
        return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.3g}"
    return f"{value:.2g}"
