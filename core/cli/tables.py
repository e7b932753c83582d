"""Tables and lists on standard output, as wide as a page; what is the same in every row is said once, above it.

A word is never cut. What is too long for its place, such as a path or a digest, has a line of its own.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from halocline.cli.output import emit, harmless

#: Columns of a page: what mails and issues quote without breaking lines.
PAGE = 100

#: Narrower pages are taken for this one.
_LEAST = 20
_GAP = "  "
#: What a cell says that has no value.
_NONE = ("", "–", "-")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table; columns of numbers are aligned to the right, empty ones are left out.

    Where the page is too narrow for its columns, each row becomes a list.

    Args:
        title: a line above it, if not empty.
        columns: headings.
        rows: as many cells each.
    """
    names = [_shown(column) for column in columns]
    cells = [[_shown(cell) for cell in row] for row in rows]
    once, kept = _split(cells, len(names))
    common = list(_entries([(names[index], cells[0][index]) for index in once], page_width()))
    grid = [[row[index] for index in kept] for row in cells]
    blocks = [common, *_grid([names[index] for index in kept], grid, page_width())]
    if title:
        emit(_shown(title))
    emit("\n\n".join("\n".join(block) for block in blocks if block))


def facts(title: str, values: Mapping[str, object]) -> None:
    """Write names and values, one below the other; values that are mappings are indented below their names.

    Args:
        title: a line above them, if not empty.
        values: by name; empty ones are left out.
    """
    if title:
        emit(_shown(title))
    emit("\n".join(_entries(list(values.items()), page_width())))


def wrapped(text: str) -> str:
    """The text, broken between words where a page ends."""
    return "\n".join(_wrapped(_shown(text), page_width()))


def page_width() -> int:
    """Columns to write in: those of the terminal or of COLUMNS, but at most a page where there is no terminal."""
    columns = shutil.get_terminal_size((PAGE, 24)).columns
    return max(_LEAST, columns if sys.stdout.isatty() else min(columns, PAGE))


def _shown(value: object) -> str:
    """What a reader will see: widths are those of the characters that the encoding of the output can say."""
    text = harmless(str(value))
    if not sys.stdout.encoding:
        return text
    return text.encode(sys.stdout.encoding, sys.stdout.errors or "strict").decode(sys.stdout.encoding)


def _split(rows: list[list[str]], columns: int) -> tuple[list[int], list[int]]:
    """Columns that say the same in all of several rows, and those that differ; empty ones are in neither."""
    told = [index for index in range(columns) if not rows or any(row[index].strip() for row in rows)]
    once = [index for index in told if len(rows) > 1 and len({row[index] for row in rows}) == 1]
    kept = [index for index in told if index not in once]
    return (once, kept) if kept else ([], told)


def _grid(names: list[str], rows: list[list[str]], width: int) -> list[list[str]]:
    """The table as one block of lines; or a block for each row, if its columns do not fit."""
    from rich.cells import cell_len

    columns = list(zip(names, *rows, strict=True))
    numeric = [bool(rows) and all(map(_is_number, column[1:])) for column in columns]
    widths = [max(map(cell_len, column)) for column in columns]
    least = [
        most if number else max(map(_longest_word, column))
        for column, most, number in zip(columns, widths, numeric, strict=True)
    ]
    least[0] = min(least[0], max(cell_len(names[0]), width // 3))  # longer ones have a line of their own
    free = width - len(_GAP) * (len(names) - 1)
    if sum(least) > free:
        return [list(_entries(list(zip(names, row, strict=True)), width)) for row in rows]
    while sum(widths) > free:
        widest = max((at for at in range(len(widths)) if widths[at] > least[at]), key=lambda at: widths[at])
        widths[widest] -= 1
    lines = [*_row(names, widths, numeric), "─" * (sum(widths) + len(_GAP) * (len(names) - 1))]
    return [[*lines, *(line for row in rows for line in _row(row, widths, numeric))]]


def _row(cells: Sequence[str], widths: list[int], numeric: list[bool]) -> Iterator[str]:
    """Lines of a row. A first cell that is too long stands above the others."""
    if _longest_word(cells[0]) > widths[0]:
        yield cells[0]
        cells = ["", *cells[1:]]
    wrapped = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for number in range(max(map(len, wrapped))):
        parts = (lines[number] if number < len(lines) else "" for lines in wrapped)
        yield _GAP.join(map(_aligned, parts, widths, numeric)).rstrip()


def _entries(values: Sequence[tuple[str, object]], width: int, indent: str = "") -> Iterator[str]:
    """Lines of names and values. Values that do not fit beside their names stand below them."""
    from rich.cells import cell_len

    deeper = indent + _GAP
    margin = max((cell_len(_shown(name)) for name, value in values if not isinstance(value, Mapping)), default=0)
    margin = min(margin, width // 2)
    free = width - len(indent) - margin - len(_GAP)
    for name, value in values:
        heading = [indent + line for line in _wrapped(_shown(name), width - len(indent))]
        if isinstance(value, Mapping):
            below = list(_entries(list(value.items()), width, deeper))
            yield from heading + below if below else ()
        elif text := _shown(value).strip():
            if cell_len(_shown(name)) <= margin and _longest_word(text) <= free:
                first, *others = _wrapped(text, free)
                yield indent + _aligned(_shown(name), margin) + _GAP + first
                yield from (" " * (len(indent) + margin + len(_GAP)) + line for line in others)
            else:
                yield from heading
                yield from (deeper + line for line in _wrapped(text, width - len(deeper)))


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines, broken between words, and between characters of scripts that put no spaces there."""
    from rich.cells import cell_len, chop_cells

    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            together = f"{line} {word}" if line else word
            if cell_len(together) <= width:
                line = together
                continue
            *full, line = [line, *(chop_cells(word, width) if _is_unspaced(word) else [word])]
            lines += filter(None, full)
        lines.append(line)
    return lines


def _aligned(text: str, width: int, right: bool = False) -> str:
    from rich.cells import cell_len

    room = " " * max(0, width - cell_len(text))
    return room + text if right else text + room


def _longest_word(text: str) -> int:
    from rich.cells import cell_len

    return max((cell_len(word[: _LEAST // 2] if _is_unspaced(word) else word) for word in text.split()), default=0)


def _is_unspaced(word: str) -> bool:
    """Whether it is written in wide characters only, as sentences of Chinese and Japanese are, and no path."""
    return all(unicodedata.east_asian_width(character) in "WF" for character in word)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text in _NONE
    return True
