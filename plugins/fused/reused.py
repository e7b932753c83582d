"""Memory that is used again by the next evaluation.

What is kept for derivatives is the largest thing that an evaluation holds. Taken from the system anew for every
step, its pages cost more to be made than what is written to them.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Any, Final, final

import torch
from torch import Tensor

from halocline import forks

#: Bytes below which the system's allocator does the same.
SMALLEST: Final = 1024**2

#: How much of the machine's memory is held for the next evaluation, at most.
SHARE: Final = 1 / 16

#: Bytes of a large page, of which there are few where the system has such.
_PAGE: Final = 2 * 1024**2


@final
class Reused:
    """Blocks of memory, each of one tensor at a time.

    Args:
        most: bytes that are held, whether tensors have them or not; further ones go back when their tensor does.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = forks.lock()
        self._blocks: list[tuple[mmap.mmap, weakref.ref[Any]]] = []

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return sum(len(block) for block, _ in self._blocks)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor without values, on a CPU.

        Args:
            shape: of the tensor.
            dtype: of the tensor.
        """
        count = math.prod(shape)
        needed = count * dtype.itemsize
        if needed < SMALLEST:
            return torch.empty(tuple(shape), dtype=dtype)
        size = -(-needed // _PAGE) * _PAGE
        with self._lock:
            block = self._free(size) or _new(size)
            lent = (ctypes.c_char * len(block)).from_buffer(block)  # lives as long as the tensor's storage
            if self.held + len(block) <= self.most:
                self._blocks.append((block, weakref.ref(lent)))
        return torch.frombuffer(lent, dtype=dtype, count=count).view(*shape)

    def _free(self, size: int) -> mmap.mmap | None:
        """Take out the smallest free block that is large enough and not twice as large.

        Where there is none, the oldest free ones are given up, as far as a new one needs their room.
        """
        free = [entry for entry in self._blocks if entry[1]() is None]
        fitting = [entry for entry in free if size <= len(entry[0]) < 2 * size]
        given_up = [min(fitting, key=lambda entry: len(entry[0]))] if fitting else free
        for entry in given_up:
            if fitting or self.held + size > self.most:
                self._blocks.remove(entry)
        return given_up[0][0] if fitting else None


def _new(size: int) -> mmap.mmap:
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


#: Of this process.
REUSED: Final = Reused(int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * SHARE))
