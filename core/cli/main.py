"""The program ``halocline``: find the command, call it, turn errors into sentences."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence

from halocline.allocation import keep_memory
from halocline.cli.output import HarmlessFormatter, say
from halocline.cli.parser import chosen_word, command_parser, top_parser
from halocline.cli.signals import Terminated, terminated_on_sigterm
from halocline.cli.streams import abandon_output, secure_streams
from halocline.errors import HaloclineError
from halocline.home import require_home
from halocline.plugin import Registry, registry

_INTERRUPTED, _PIPE_CLOSED, _TERMINATED = 128 + 2, 128 + 13, 128 + 15  # as shells count signals

#: The command that shows what is wrong with plugins: it needs no line that says where to look.
_LISTING = "halocline/plugins"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; those of this process if None.

    Returns:
        0 when all is well, 1 when the work failed, 2 when the call was wrong; 128 + n after signal n.
    """
    if argv is None:
        secure_streams()
        require_home(os.environ)
    arguments, debug = _split_debug(sys.argv[1:] if argv is None else argv)
    handler = logging.StreamHandler()
    handler.setFormatter(HarmlessFormatter("halocline: %(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("halocline").setLevel(logging.DEBUG if debug else logging.WARNING)
    logging.getLogger("halocline.durations").setLevel(logging.INFO)  # what takes long says so
    try:
        with terminated_on_sigterm():
            status = _dispatch(arguments, ours=argv is None)
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
