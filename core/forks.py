"""What threads share, in a process that forks while they use it.

The child has one thread, that which has forked. Locks of the others stay locked in it for ever, and what they held
is half done; processes and thread pools are those of its parent.
"""

from __future__ import annotations

import os
import threading
import weakref

_locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()


def lock() -> threading.RLock:
    """A lock that no thread holds in a fork of this process which is not there.

    A thread may come in twice, from a signal handler or a destructor; it would wait for itself.
    """
    made = threading.RLock()
    _locks.add(made)
    return made


#: Whether this process is a fork of one that had loaded this module.
forked = False


def _begin() -> None:
    global forked
    forked = True
    for each in list(_locks):
        if not each._is_owned():  # type: ignore[attr-defined]
            each._at_fork_reinit()  # type: ignore[attr-defined]


os.register_at_fork(after_in_child=_begin)
