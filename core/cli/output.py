"""Where the command line writes: data to standard output, everything else to standard error."""

from __future__ import annotations

import json
import logging
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath
from typing import Any, Protocol, final


class Advance(Protocol):
    """A function that reports progress."""

    def __call__(self, steps: int = 1) -> None:
        """Say that so many more steps are done."""


def harmless(text: str) -> str:
    """Spell out, as in a string of Python, what would command a terminal instead of being shown.

    Texts of plugins, cards and files are theirs. Line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char in "\n\t" or char.isprintable() or unicodedata.category(char) == "Zs" else _spelled(char)
        for char in text
    )


@final
class HarmlessFormatter(logging.Formatter):
    """Formats what is logged as `say` would write it."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        return harmless(super().format(record))


def say(message: str) -> None:
    """Write a message for the user to standard error; if that has gone, nobody is there to be told."""
    with suppress(OSError):
        sys.stderr.write(f"{harmless(message)}\n")
        sys.stderr.flush()


def emit(text: str) -> None:
    """Write text to standard output, where data goes; messages go to standard error."""
    sys.stdout.write(f"{harmless(text)}\n")


def emit_json(value: Any) -> None:
    """Write data to standard output as JSON; NumPy arrays become lists, paths become strings.

    It is plain ASCII, so that it stays JSON in every encoding.

    Raises:
        ValueError: A number is not finite: JSON has no word for it.
    """
    emit(json.dumps(value, indent=2, allow_nan=False, default=_plain))


@contextmanager
def json_list() -> Iterator[Callable[[Any], None]]:
    """Write a list to standard output, item by item; the text is that of `emit_json`.

    It is closed where the block fails, too, unless nothing was written yet.

    Yields:
        The function to call with each item.
    """
    begun = False

    def item(value: Any) -> None:
        nonlocal begun
        text = json.dumps(value, indent=2, allow_nan=False, default=_plain)
        sys.stdout.write(harmless((",\n" if begun else "[\n") + textwrap.indent(text, "  ")))
        begun = True

    try:
        yield item
    except BrokenPipeError:  # nobody reads the end
        raise
    except BaseException:
        if begun:
            sys.stdout.write("\n]\n")
        raise
    sys.stdout.write("\n]\n" if begun else "[]\n")


@contextmanager
def said_once(*loggers: str) -> Iterator[None]:
    """Let each message that is logged there within the block pass once: thousands of frames may be alike."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in said
        said.add(text)
        return new

    for name in loggers:
        logging.getLogger(name).addFilter(is_new)
    try:
        yield
    finally:
        for name in loggers:
            logging.getLogger(name).removeFilter(is_new)


@contextmanager
def progress(total: int | None, description: str, unit: str = "") -> Iterator[Advance]:
    """Show a progress bar on standard error while the block runs; nothing if that is no terminal.

    Args:
        total: Number of steps; None if nobody knows.
        description: What is being done.
        unit: Of what so many per second are told; nothing is told if empty.

    Yields:
        The function to call when steps are done.
    """
    if not sys.stderr.isatty():
        yield _advance_unseen
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    if unit:
        columns[-1] = _speed_column(unit)
    # What is printed meanwhile goes above the bar where both are on the terminal, and else where it belongs.
    redirected = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=redirected) as bar:
        task = bar.add_task(description, total=total)

        def advance(steps: int = 1) -> None:
            bar.advance(task, steps)

        yield advance


def _speed_column(unit: str) -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class SpeedColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.3g} {unit}/s")

    return SpeedColumn()


def _spelled(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _advance_unseen(steps: int = 1) -> None:
    del steps


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
