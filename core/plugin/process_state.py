"""Importing a plugin must not change the process around it, its standard streams included: put it back, say so."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Final, Self, final

from halocline.forks import lock
from halocline.plugin.switches import SWITCHES, Switch

#: Held by whoever changes the state of the process and puts it back: two at once would put back each other's.
one_at_a_time: Final = lock()

_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


@contextmanager
def process_state_kept() -> Iterator[list[str]]:
    """Restore the environment and all `SWITCHES` when the block ends, however it ends.

    Only libraries that are loaded are looked at: nothing is imported to look after it.

    Yields:
        A list that is empty until the block ends and then names what had been changed.
    """
    changed: list[str] = []
    with one_at_a_time:
        environment = dict(os.environ)
        before = {switch: switch.read(sys.modules[switch.module]) for switch in _loaded()}
        try:
            yield changed
        finally:
            for switch in _loaded():
                if switch in before:
                    changed += _restore(switch, before[switch])
                elif switch.fresh is not None:
                    changed += _restore(switch, switch.fresh(sys.modules[switch.module]))
            changed += _restore_environment(environment)  # last: some of the others leave their traces there


def _loaded() -> list[Switch]:
    return [switch for switch in SWITCHES if sys.modules.get(switch.module)]


def _restore(switch: Switch, before: Any) -> list[str]:
    """Put one setting back; name it if that was necessary."""
    module = sys.modules[switch.module]
    if not switch.differs(before, switch.read(module)):
        return []
    try:
        switch.write(module, before)
    except (OSError, ValueError, TypeError) as error:  # signal handlers outside of the main thread, for example
        return [f"{switch.label} (which cannot be put back: {error})"]
    return [] if switch.usual else [switch.label]


def _restore_environment(before: dict[str, str]) -> list[str]:
    names = sorted(name for name in before.keys() | os.environ.keys() if before.get(name) != os.environ.get(name))
    for name in names:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    return [f"the environment variable {name}" for name in names]


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Send standard output to standard error while the block runs, that of compiled libraries too.

    Afterwards the standard streams are what and where they were, even if they were closed or exchanged.
    """
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()
    kept = [_Kept.of(name, number) for name, number in _STREAMS.items()]
    sys.stdout = _Onward()
    with suppress(OSError):  # one of the two is closed
        os.dup2(_STREAMS["stderr"], _STREAMS["stdout"])
    try:
        yield
    finally:
        _flush_compiled()
        for stream in kept:
            stream.put_back()


def _flush_compiled() -> None:
    """What compiled code has printed may still be in the C library's buffer."""
    with suppress(ImportError, OSError, AttributeError, TypeError):  # the C library cannot be called everywhere
        import ctypes

        ctypes.CDLL(None).fflush(None)


@final
class _Onward(io.TextIOBase):
    """Writes to standard error; closing it closes nothing."""

    def write(self, text: str) -> int:
        if sys.stderr is not None and not sys.stderr.closed:
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        if sys.stderr is not None and not sys.stderr.closed:
            sys.stderr.flush()

    def fileno(self) -> int:
        return sys.stderr.fileno()

    @property
    def buffer(self) -> IO[bytes]:
        return sys.stderr.buffer


@final
@dataclass(frozen=True, slots=True)
class _Kept:
    """A standard stream as it was.

    Attributes:
        name: in `sys`.
        number: of its file descriptor.
        stream: the object.
        copy: of the file descriptor; None if that was closed.
        opened: how to open it again; None for a stream that is no file, as in a notebook.
    """

    name: str
    number: int
    stream: Any
    copy: int | None
    opened: dict[str, Any] | None

    @classmethod
    def of(cls, name: str, number: int) -> Self:
        """Keep what a standard stream is now, so that it can be put back."""
        stream = getattr(sys, name)
        try:
            copy = os.dup(number)
        except OSError:
            copy = None
        opened = None
        with suppress(AttributeError, OSError, ValueError):  # not all streams know all of it
            if stream.fileno() == number:
                opened = {"mode": stream.mode, "encoding": stream.encoding, "errors": stream.errors}
        return cls(name, number, stream, copy, opened)

    def put_back(self) -> None:
        """Make the stream what it was; if it was closed, a new one takes its place."""
        if self.copy is not None:
            os.dup2(self.copy, self.number, inheritable=True)
            os.close(self.copy)
        stream = self.stream
        if stream is not None and stream.closed and self.opened is not None:
            stream = open(self.number, closefd=False, **self.opened)  # noqa: SIM115 - it stays open
            if getattr(sys, f"__{self.name}__") is self.stream:
                setattr(sys, f"__{self.name}__", stream)
        setattr(sys, self.name, stream)
