"""What torch tensors a checkpoint may hold; apart from the rest because it imports torch."""

from __future__ import annotations

import torch
from torch import Tensor

from halocline.errors import CheckpointError

#: Dtypes of torch under their names in safetensors.
DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse weights that would only ever give NaN.

    Raises:
        CheckpointError: a value is infinite or NaN.
    """
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"the tensor {name!r} has values that are not finite")


def plain_copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU, apart from any other: safetensors refuses shared memory and gaps."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def raw_bytes(tensor: Tensor) -> bytes:
    """The elements of a contiguous tensor on the CPU, as they lie in memory."""
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
