"""What a device could do at most, and what an evaluation asks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpu.clock import seconds_of
from halocline.context import in_evaluation_context
from halocline.profile.operators import matrix_flops_of
from halocline.program import Precision

#: Rows of the square matrices that are multiplied, and bytes of what is copied: enough to fill a large GPU.
ROWS, BYTES = 8192, 2**30

#: On CPUs, where filling the device would take too long and memory that others need.
ROWS_ON_CPU, BYTES_ON_CPU = 1024, 2**26


class Roof(NamedTuple):
    """Measured rates of a device.

    Attributes:
        bytes_per_s: read and written by a copy of a large tensor.
        flops_per_s: of a product of large matrices, in one dtype and without rounding it to a smaller one.
    """

    bytes_per_s: float
    flops_per_s: float


def measure_roof(device: str, dtype: Precision) -> Roof:
    """Copy and multiply."""
    cuda = torch.device(device).type == "cuda"
    rows, size = (ROWS, BYTES) if cuda else (ROWS_ON_CPU, BYTES_ON_CPU)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = seconds_of(lambda: target.copy_(source), device)
    matrix = torch.ones(rows, rows, dtype=dtype.torch, device=device)
    product = seconds_of(lambda: matrix @ matrix, device)
    return Roof(2 * size / copy, 2 * rows**3 / product)


class Work(TorchDispatchMode):
    """Counts what operations ask for while they run one after another.

    Attributes:
        bytes: of all tensors that are read and written, each by each operation; views are free.
        flops: of products of matrices.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        read, written = (
            [each for each in tree_leaves(s) if isinstance(each, torch.Tensor)] for s in (args, result)
        )
        held = {tensor.untyped_storage().data_ptr() for tensor in read}
        made = [tensor for tensor in written if tensor.untyped_storage().data_ptr() not in held]
        if made:
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in (*read, *made))
        self.flops += int(matrix_flops_of(func, args, kwargs or {}, result))
        return result


def _tensors(values: Any) -> list[torch.Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]


@in_evaluation_context
def work_of(call: Callable[[], object]) -> Work:
    """Count a call, in the evaluation context, which would leave the counter aside as a mode of the host."""
    with Work() as counted:
        call()
    return counted
