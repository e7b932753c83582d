"""Launch kernels on the device that their tensors are on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor

from halocline.cache import own_cache
from halocline.errors import KernelError, UsageError
from halocline.plugins.triton_operators.blocks import FAILURES, Blocks, blocks_for


def launch(
    kernel: Any,
    arguments: Sequence[Tensor | int | None],
    out: Tensor,
    candidates: Sequence[Blocks],
    grid: Callable[[Blocks], tuple[int, ...]],
    *,
    about: tuple[object, ...] = (),
    work: int,
) -> None:
    """Run a kernel with the block sizes that are the fastest on the device; see `blocks_for`.

    Args:
        kernel: the function of Triton, which writes what it is given to write and reads nothing of that.
        arguments: tensors, contiguous, and integers; all but the block sizes.
        out: what it writes; the choice depends on its device and dtype.
        candidates: block sizes, by the names of the kernel's arguments, and ``num_warps``; the first has to be
            right for any launch.
        grid: how many programs there are, for some block sizes.
        about: what else the choice depends on, such as the number of channels.
        work: elements that it works on, about.

    Raises:
        KernelError: Triton cannot compile or launch it here.
    """
    _keep_kernels_private()

    def run(blocks: Blocks) -> None:
        kernel[grid(blocks)](*arguments, **blocks)

    with torch.cuda.device_of(out):
        try:
            run(blocks_for(kernel, (out.dtype, *about), candidates, out.device, work, run))
        except torch.OutOfMemoryError:
            raise
        except FAILURES as error:
            raise KernelError(f"Triton cannot run {kernel.__name__!r} here: {error}") from error


@cache
def _keep_kernels_private() -> None:
    """Have Triton keep what it compiles, and will run again, in the cache folder, unless the host says where."""
    if "TRITON_CACHE_DIR" not in os.environ:
        with suppress(OSError, UsageError):  # there is none: it has a place of its own
            os.environ["TRITON_CACHE_DIR"] = str(own_cache("triton"))
