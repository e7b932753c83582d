"""What operators launch on GPUs, compiled for one that need not be there.

Importing this needs Triton, without its interpreter.
"""

from __future__ import annotations

from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

#: NVIDIA H100.
TARGET = GPUTarget("cuda", 90, 32)

TYPES = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32", torch.int64: "*i64"}

_GPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)


def launches_of(operator, arguments):
    """The launches of an operator (overload): kernel, arguments, block sizes. Nothing is run."""
    found = []

    def launched(kernel, *given, grid, warmup, **blocks):
        found.append((kernel, given, blocks))

    with patch.object(triton.JITFunction, "run", launched):
        operator.redispatch(_GPU, *arguments)
    return found


def compiled(kernel, given, blocks):
    """Down to machine code, with what a launch finds out of its arguments: multiples of 16, ones and nones."""
    names, blocks = kernel.arg_names, dict(blocks)
    options = {"num_warps": blocks.pop("num_warps")}
    constants = {(names.index(name),): size for name, size in blocks.items()}
    signature, attributes = dict.fromkeys(names, "constexpr"), {}
    for place, (name, value) in enumerate(zip(names, given, strict=False)):
        is_tensor, free = isinstance(value, torch.Tensor), kernel.params[place].do_not_specialize
        if value is None or kernel.params[place].is_constexpr or (not is_tensor and value == 1 and not free):
            constants[(place,)] = value
            continue
        signature[name] = TYPES[value.dtype] if is_tensor else "i32"
        if is_tensor or (value % 16 == 0 and not free):
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=TARGET, options=options).asm
