"""Compile a program in this process, by torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from halocline.backends.torch.compiler import (
    compiler_options,
    free_sizes,
    keep_kernels_private,
    require_agreement,
    require_compiler,
    torch_warns_itself,
)
from halocline.backends.torch.graph import compilable
from halocline.durations import announced
from halocline.lowering import Manifest, Program


def compile_now(program: Program, device: str) -> Callable[..., Sequence[Tensor]]:
    """Compile a program for all sizes.

    torch compiles again if the host changes what its kernels depend on, such as the number of threads; after eight
    such changes it runs the operations one by one.

    Args:
        program: on the CPU.
        device: where its inputs will be.

    Raises:
        UsageError: there is no C++ compiler.
        ArtefactError: torch cannot compile the program, compiles it wrongly, or cannot keep kernels.
    """
    require_compiler()
    keep_kernels_private()
    graph = compilable(program, device)
    with torch_warns_itself():
        compiled = torch.compile(graph, dynamic=True, options=compiler_options())

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        _fix_sizes(program.manifest, inputs)
        outputs: Sequence[Tensor]
        with torch.no_grad(), free_sizes():
            # Inductor's launcher of GPU kernels divides by the number of blocks, which is none without edges.
            empty = device != "cpu" and not all(tensor.numel() for tensor in inputs)
            outputs = graph(*inputs) if empty else compiled(*inputs)
        return outputs

    manifest = program.manifest
    what = f"Compiling {manifest.backbone!r} with Inductor ({manifest.precision}, {device})"
    with announced(what), torch_warns_itself():  # torch compiles at the first call
        require_agreement(program, run, device)
    return run


def _fix_sizes(manifest: Manifest, inputs: Sequence[Tensor]) -> None:
    """Tell torch which sizes never change; else it takes all to be free, a vector's three too."""
    for value, tensor in zip(manifest.inputs, inputs, strict=True):
        for dimension, size in enumerate(value.shape):
            if isinstance(size, int):
                torch._dynamo.mark_static(tensor, dimension)
