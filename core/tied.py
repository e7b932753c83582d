"""The first thing that a process runs which must not outlive the one that started it: see `TiedProcess`.

It is run by its path, ``python tied.py DESCRIPTOR MODULE [ARGUMENT …]``, and imports nothing of Halocline and
nothing that takes time. Only then comes the module, which may.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys


def tie(descriptor: int) -> None:
    """Let the system kill the processes of this session once nobody holds the other end of a pipe.

    No thread has to wait for that, nor has Python to be able to do anything. ``PR_SET_PDEATHSIG`` would not do:
    the system sends that signal at the end of the *thread* that has started this process.

    Args:
        descriptor: end of a pipe to read from, into which nobody writes. This process is to lead its session.
    """
    os.set_inheritable(descriptor, False)  # a process that outlives this one would keep the pipe
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpid())  # a negative number is that of a process group
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    watch = select.poll()
    watch.register(descriptor, 0)
    if watch.poll(0):  # the other end was gone before the system was told
        os.killpg(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Tie this process, and be the module that is named from then on."""
    descriptor, module, *arguments = sys.argv[1:]
    tie(int(descriptor))
    import runpy

    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
