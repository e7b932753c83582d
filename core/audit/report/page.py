"""One page of HTML with everything in it: nothing is loaded from anywhere when it is opened."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring

from halocline.audit.report.section import Picture, Section, Table

#: Browsers are told to load and to run nothing but what the page holds itself.
POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.7rem; text-align: left; border-bottom: 1px solid #eee; }
td.number { text-align: right; }
.wide { overflow-x: auto; margin: 1rem 0; }
figure { margin: 1.5rem 0; }
figcaption { font-size: 0.875rem; color: #555; }
img { max-width: 100%; height: auto; }
"""


def page(title: str, facts: Mapping[str, str], sections: Iterable[Section], folder: Path) -> bytes:
    """Write a report as HTML. Texts of users and files appear as they are, whatever they hold.

    Args:
        title: of the page.
        facts: names and values, first.
        sections: next.
        folder: where pictures lie that sections name.

    Raises:
        OSError: a picture is there and cannot be read.
    """
    root = Element("html", lang="en")
    head, body = SubElement(root, "head"), SubElement(root, "body")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": POLICY})
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _text(head, "title", title)
    _text(head, "style", _STYLE)
    _text(body, "h1", title)
    _table(body, Table("", (), list(facts.items())))
    for section in sections:
        _section(body, section, folder)
    text: bytes = tostring(root, encoding="utf-8", method="html")
    return b"<!DOCTYPE html>\n" + text


def _section(body: Element, section: Section, folder: Path) -> None:
    _text(body, "h2", section.title)
    for sentence in section.sentences:
        _text(body, "p", sentence)
    for table in section.tables:
        if table.rows:
            _table(body, table)
    for picture in section.pictures:
        if (folder / picture.name).exists():
            _picture(body, picture, folder)


def _table(body: Element, table: Table) -> None:
    if table.title:
        _text(body, "h3", table.title)
    element = SubElement(SubElement(body, "div", {"class": "wide"}), "table")
    if table.columns:
        row = SubElement(SubElement(element, "thead"), "tr")
        for column in table.columns:
            _text(row, "th", column)
    rows = SubElement(element, "tbody")
    for cells in table.rows:
        _row(SubElement(rows, "tr"), cells)


def _row(row: Element, cells: Sequence[str]) -> None:
    for cell in cells:
        _text(row, "td", cell, {"class": "number"} if _is_number(cell) else {})


def _picture(body: Element, picture: Picture, folder: Path) -> None:
    data = base64.b64encode((folder / picture.name).read_bytes()).decode()
    figure = SubElement(body, "figure")
    SubElement(figure, "img", src=f"data:image/png;base64,{data}", alt=picture.caption)
    _text(figure, "figcaption", picture.caption)


def _text(parent: Element, tag: str, text: Any, attributes: Mapping[str, str] | None = None) -> None:
    SubElement(parent, tag, dict(attributes or {})).text = _shown(str(text))


def _shown(text: str) -> str:
    """Characters that HTML has no place for, as control characters in the name of a file, are spelled out."""
    return "".join(
        char if char in "\n\t" or char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "–"
    return True
