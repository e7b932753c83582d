"""Operators are given tensors on the CPU, and do with them what they do on a GPU: Triton's interpreter runs it."""

from __future__ import annotations

import warnings
from collections import Counter

import torch

from halocline.program.operators import CustomOperator

#: How often each operator was called that way, by its name without the namespace.
CALLS = Counter()

#: Keeps what is put in the place of the C++.
_LIBRARY = torch.library.Library("halocline", "IMPL")

_GPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)


def as_on_gpu(*operators: CustomOperator) -> None:
    """From now on they call, for tensors on the CPU, what they call for those on a GPU."""
    for operator in operators:
        _, _, name = operator.name.partition("::")
        with warnings.catch_warnings():  # torch says that something is there already
            warnings.simplefilter("ignore")
            _LIBRARY.impl(name, _redispatched(name), "CPU", allow_override=True)


def replace_as_on_gpu(kernel, monkeypatch):
    """Have a kernel (class) make the stages that it makes for GPUs, for the CPU."""
    replace = kernel.replace
    monkeypatch.setattr(
        kernel,
        "replace",
        lambda self, stage, form, precision, device: replace(self, stage, form, precision, "cuda"),
    )


def _redispatched(name):
    overload = getattr(torch.ops.halocline, name).default

    def call(*arguments):
        CALLS[name] += 1
        return overload.redispatch(_GPU, *arguments)

    return call
