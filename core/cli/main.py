"""The program ``halocline``: find the command, call it, turn errors into sentences."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, NoReturn

from halocline import __version__
from halocline.allocation import keep_memory
from halocline.cache import require_home
from halocline.cli.output import HarmlessFormatter, harmless, say
from halocline.cli.signals import Terminated, terminated_on_sigterm
from halocline.cli.streams import abandon_output, secure_streams
from halocline.errors import HaloclineError, UsageError
from halocline.plugin import Component, Registry, registry

_INTERRUPTED, _PIPE_CLOSED, _TERMINATED = 128 + 2, 128 + 13, 128 + 15  # as shells count signals

#: The command that shows what is wrong with plugins: it needs no line that says where to look.
_LISTING = "halocline/plugins"

_DESCRIPTION = "Run, prune and partition machine-learned interatomic potentials on any backend."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; those of this process if None.

    Returns:
        0 when all is well, 1 when the work failed, 2 when the call was wrong; 128 + n after signal n.
    """
    if argv is not None:
        return _run(argv, ours=False)
    secure_streams()
    require_home(os.environ)
    wait_passively(os.environ)
    status = _run(sys.argv[1:], ours=True)
    _leave_ranks(status)
    return status


def _run(argv: Sequence[str], *, ours: bool) -> int:
    """Run one command; the process is ours if it was started for it."""
    arguments, debug = _split_debug(argv)
    handler = logging.StreamHandler()
    handler.setFormatter(HarmlessFormatter("halocline: %(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("halocline").setLevel(logging.DEBUG if debug else logging.WARNING)
    logging.getLogger("halocline.durations").setLevel(logging.INFO)  # what takes long says so
    try:
        with terminated_on_sigterm():
            status = _dispatch(arguments, ours=ours)
            sys.stdout.flush()
            return status
    except BrokenPipeError:
        abandon_output()  # whoever read it has left
        return _PIPE_CLOSED
    except Terminated:
        return _TERMINATED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        if debug:
            say("".join(traceback.format_exception(error)).rstrip())
        status = _report(error)
        _flush_if_possible()
        return status


def _leave_ranks(status: int) -> None:
    """End the process here if it has not parted from other ranks, as after an interrupt or when one is lost.

    Threads of torch.distributed may still hold tensors then, and would abort a Python that ends meanwhile.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        _flush_if_possible()
        os._exit(status)


def wait_passively(environment: MutableMapping[str, str]) -> None:
    """Let threads of torch, which is not loaded yet, wait without spinning, unless the user has said how.

    Beside a busy core, threads that spin take the time of those that they wait for: two were many times slower
    than one then.

    Args:
        environment: variables of this process, in which what is said to OpenMP is set.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(environment):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"


def _split_debug(argv: Sequence[str]) -> tuple[list[str], bool]:
    """Take ``--debug`` out, wherever it stands before ``--``."""
    end = argv.index("--") if "--" in argv else len(argv)
    kept = [word for word in argv[:end] if word != "--debug"]
    return kept + list(argv[end:]), len(kept) < end


def _dispatch(arguments: list[str], *, ours: bool) -> int:
    """Run the command; the process is ours if it was started for it."""
    known = registry()
    word = chosen_word(arguments)
    command = None if word is None else known.find("command", word)
    if command is None or command.qualified_name != _LISTING:
        _warn_of_faulty(known)
    parser = top_parser(known.names("command"))
    if word is None or command is None:
        parser.parse_args(arguments)  # answers --version and --help, refuses other options
        parser.print_help()
        return 0
    before, after = arguments[: arguments.index(word)], arguments[arguments.index(word) + 1 :]
    parser.parse_args(before)
    chosen = command_parser(word, command)
    known.load("command", word)(chosen)
    options = chosen.parse_args(after)
    if ours and getattr(options, "memory", None) is None:  # a bound counts on memory being given back
        keep_memory(os.environ)
    status: int = options.run(options)
    return status


def _flush_if_possible() -> None:
    """Write what is left, but do not fail once more where writing was what failed."""
    try:
        sys.stdout.flush()
    except OSError:
        abandon_output()


def _warn_of_faulty(known: Registry) -> None:
    faulty = [plugin.name for plugin in known.plugins if plugin.is_faulty]
    if faulty:
        say(f"halocline: something is wrong with {', '.join(faulty)}; see 'halocline plugins'.")


def _report(error: Exception) -> int:
    if isinstance(error, HaloclineError | OSError):
        say(f"halocline: {error}")
    else:
        say(f"halocline: unexpected {type(error).__name__}: {error} (--debug shows where).")
    return error.exit_status if isinstance(error, HaloclineError) else 1


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
