"""Which errors say that memory has run out."""

from __future__ import annotations

import torch

#: What torch's allocator for CPUs says, in an error that is like any other.
_ON_CPU = ("DefaultCPUAllocator", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out: of Python and NumPy, or of torch on the CPU or on a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ON_CPU)
