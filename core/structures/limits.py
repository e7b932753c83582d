"""Bounds on what a reader may take, so that a file that lies about its size ends in a sentence."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from halocline.errors import StructureError

#: Address space that any reader may take, and for each byte of the file; ASE's take up to 60 bytes for one.
MEMORY, MEMORY_PER_BYTE = 4 << 30, 200
#: Seconds of processor time likewise; ASE reads extended XYZ at 0.2 µs a byte.
SECONDS, SECONDS_PER_BYTE = 120.0, 2e-5


@contextmanager
def limited(name: str, size: int) -> Iterator[None]:
    """Bound memory and processor time while the block reads a file of so many bytes.

    Time is bounded in the main thread of systems that have the timer, memory on Linux: whoever reads elsewhere is
    not hindered. A profiler that counts by the same signal keeps it.

    Raises:
        StructureError: a bound was reached.
    """
    try:
        with ExitStack() as stack:
            stack.enter_context(_memory(MEMORY + MEMORY_PER_BYTE * size))
            stack.enter_context(_time(name, SECONDS + SECONDS_PER_BYTE * size))
            yield
    except MemoryError as error:
        raise StructureError(
            f"Reading the {size} bytes of {name} would take more memory than they can need; they are damaged, "
            "or state sizes that are not there."
        ) from error


@contextmanager
def _time(name: str, seconds: float) -> Iterator[None]:
    if not hasattr(signal, "SIGPROF") or threading.current_thread() is not threading.main_thread():
        yield
        return
    if signal.getsignal(signal.SIGPROF) is not signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise StructureError(f"Reading {name} was given up after {seconds:.0f} s of processor time.")

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # again and again, as a reader may swallow the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, previous)


@contextmanager
def _memory(allowance: int) -> Iterator[None]:
    pages = Path("/proc/self/statm")
    if not pages.exists():
        yield
        return
    import resource

    page = os.sysconf("SC_PAGE_SIZE")
    taken = int(pages.read_text(encoding="ascii").split()[0]) * page
    bound = taken + min(allowance, os.sysconf("SC_PHYS_PAGES") * page)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [bound, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
