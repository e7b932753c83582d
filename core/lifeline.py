"""Start processes that end when this one does, however it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, final

#: What such a process runs first.
_TIED: Final = str(Path(__file__).with_name("tied.py"))

#: The ends of pipes that this process holds, one for each process that is tied to it.
_held: Final[set[int]] = set()


@final
class TiedProcess(subprocess.Popen[bytes]):
    """A module of ours, in an interpreter and a session of its own: all of it is killed when this process ends.

    On Linux the system sees to that from the first line of Python on; see `halocline.tied`. It also ends with this
    object.

    Args:
        module: to run as ``__main__``.
        arguments: of it.
        descriptors: that it inherits under the same numbers.
        options: for `subprocess.Popen`.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], *, descriptors: Sequence[int] = (), **options: Any
    ) -> None:
        watched, held = os.pipe()
        _held.add(held)
        self._let_go = weakref.finalize(self, _close, held)
        try:
            # -P: a file in the folder of the user, such as random.py, must not stand in for a module.
            super().__init__(
                [sys.executable, "-P", _TIED, str(watched), module, *arguments],
                pass_fds=(watched, *descriptors),
                start_new_session=True,
                **options,
            )
        except BaseException:
            self._let_go()
            raise
        finally:
            os.close(watched)

    def end(self) -> None:
        """Kill it with whatever it has started, and wait until it is gone."""
        self._let_go()
        with suppress(ProcessLookupError, PermissionError):  # nobody is left; macOS says the second of zombies
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


def _close(held: int) -> None:
    if held in _held:  # in a fork of this process none is
        _held.discard(held)
        os.close(held)


def _close_all() -> None:
    """A fork that lives on would keep the processes of its parent alive."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_close_all)
