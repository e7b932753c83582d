"""How the memory of this process is allocated."""

from __future__ import annotations

import sys
from collections.abc import Mapping

#: Parameters of glibc's ``mallopt``, and what to set them to: large blocks come from the heap like small ones, and
#: the heap never shrinks (``malloc.h``; ``man 3 mallopt``).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER, _NONE = -1, 0

#: What glibc arrives at by itself (``mallopt(3)``): blocks, up to so many and from so many bytes on, come from the
#: system and go back to it; so does the end of the heap.
_MMAP_THRESHOLD = -3
_SETTLED = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}

#: Environment variables by which users say the same things.
_OF_THE_USER = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_memory(environment: Mapping[str, str]) -> bool:
    """Have this process keep the memory that tensors leave, for the tensors to come.

    By itself glibc hands each block of more than 32 MiB back at once, and the system fills the next one with
    zeros: for large structures that takes longer than the network. This is for processes that Halocline has to
    itself and that have no bound on memory to keep to. Where users have set glibc themselves, and where there is
    no glibc, nothing is done.

    Args:
        environment: variables of this process.

    Returns:
        Whether memory is kept from now on.
    """
    return _set(environment, {_MMAP_MAX: _NONE, _TRIM_THRESHOLD: _NEVER})


def give_memory_back(environment: Mapping[str, str]) -> bool:
    """Have a process that keeps memory give it back again, because it is bounded from now on.

    Args:
        environment: variables of this process.

    Returns:
        Whether anything was set, as for `keep_memory`.
    """
    return _set(environment, _SETTLED)


def _set(environment: Mapping[str, str], parameters: Mapping[int, int]) -> bool:
    """Call ``mallopt``, where there is one and users have not decided themselves."""
    if sys.platform != "linux" or any(name in environment for name in _OF_THE_USER):
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*each) for each in parameters.items())
