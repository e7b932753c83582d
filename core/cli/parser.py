"""The top-level parser: every command is listed, only the chosen one is configured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from halocline import __version__
from halocline.cli.output import harmless
from halocline.errors import UsageError
from halocline.plugin import Component

_DESCRIPTION = "Run, prune and partition machine-learned interatomic potentials on any backend."


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated options and whose complaints are errors like all others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{message} (see '{self.prog} --help').")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help, in which plugins have texts of their own."""
        super()._print_message(harmless(message), file)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave after ``--help`` or ``--version``; a closed pipe shows here, not at exit."""
        sys.stdout.flush()
        super().exit(status, message)


def top_parser(commands: Mapping[str, Component]) -> Parser:
    """Build the parser that knows the names of all commands and the options of none."""
    parser = Parser(prog="halocline", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"halocline {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and log messages")
    choices = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, command in commands.items():
        choices.add_parser(name, help=command.summary.replace("%", "%%"))
    return parser


def command_parser(name: str, command: Component) -> Parser:
    """Build the parser of one command, still without its arguments."""
    return Parser(prog=f"halocline {name}", description=_sentence(command.summary))


def chosen_word(arguments: Sequence[str]) -> str | None:
    """The name of the command that is called: the first word that is no option; None if there is none."""
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _sentence(summary: str) -> str:
    sentence = summary[:1].upper() + summary[1:] + "."
    return sentence.replace("%", "%%") if "%(prog)" in sentence else sentence  # argparse fills in nothing else
