"""What the machine can do at best: a product of matrices, and a triad of vectors, on the threads that are used."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from halocline.context import evaluation_context

#: Rows of square matrices, and elements of vectors: on CPUs so many that no cache holds them.
_ROWS: Final = {"cpu": 1536, "cuda": 8192}
_ELEMENTS: Final = {"cpu": 1 << 24, "cuda": 1 << 27}
_TRIES: Final = 5


@final
@dataclass(frozen=True, slots=True)
class Roof:
    """The best of a few tries, in this process.

    Attributes:
        flops: dtype → floating-point operations a second, of a product of two matrices of that dtype.
        bandwidth: bytes a second, of a = b + s c in float32: two vectors read, one written.
        threads: of torch.
    """

    flops: Mapping[torch.dtype, float]
    bandwidth: float
    threads: int

    @classmethod
    def measure(cls, device: str, dtypes: frozenset[torch.dtype]) -> Roof:
        """Measure it where that was not done yet in this process, with as many threads as torch uses now."""
        threads = torch.get_num_threads()
        flops = {dtype: _peak(device, dtype, threads) for dtype in dtypes}
        return cls(flops, _bandwidth(device, threads), threads)

    @property
    def named(self) -> dict[str, float]:
        """The floating-point operations a second by the names of dtypes."""
        return {str(dtype).removeprefix("torch."): flops for dtype, flops in self.flops.items()}

    def seconds(self, flops: Mapping[torch.dtype, float], bytes: float) -> float:
        """The least that this can take: whatever is slower, computing it or moving it."""
        computing = sum(count / self.flops[dtype] for dtype, count in flops.items())
        return float(max(computing, bytes / self.bandwidth))


@functools.cache
def _peak(device: str, dtype: torch.dtype, threads: int) -> float:
    del threads  # the peak is theirs
    rows = _ROWS[torch.device(device).type]
    with evaluation_context():
        a, b = torch.full((2, rows, rows), 1.0 / rows, dtype=dtype, device=device)
        return 2.0 * float(rows**3) / _best(lambda: a @ b, a)


@functools.cache
def _bandwidth(device: str, threads: int) -> float:
    del threads
    with evaluation_context():
        a, b, c = torch.ones(3, _ELEMENTS[torch.device(device).type], device=device)
        moved = 3.0 * float(a.numel() * a.element_size())
        return moved / _best(lambda: torch.add(b, c, alpha=3.0, out=a), a)


def _best(function: Callable[[], Tensor], on: Tensor) -> float:
    seconds = []
    for _ in range(1 + _TRIES):  # the first is a warm-up
        _wait(on)
        began = time.perf_counter()
        function()
        _wait(on)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _wait(on: Tensor) -> None:
    if on.is_cuda:
        torch.cuda.synchronize(on.device)
