"""What a plugin prints while it is imported is no data: it goes to standard error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any, Self, final

_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


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
