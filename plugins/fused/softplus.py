"""The shifted softplus of SchNet in one pass."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import Tensor

from halocline.plugins.fused.operators import SUFFIX, address, c_function, define


def shifted_softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) - log 2, of any shape."""
    found: Tensor = torch.ops.halocline.shifted_softplus(x)
    return found


def pull_shifted_softplus(gradients: Tensor, x: Tensor) -> Tensor:
    """Gradients times the derivative at x, likewise."""
    found: Tensor = torch.ops.halocline.pull_shifted_softplus(gradients, x)
    return found


def _compute(x: Tensor) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    function = c_function("softplus", f"softplus_{SUFFIX[x.dtype]}", "ippi")
    function(x.numel(), address(x), address(out), torch.get_num_threads())
    return out


def _pull(gradients: Tensor, x: Tensor) -> Tensor:
    gradients, x = gradients.contiguous(), x.contiguous()
    out = torch.empty_like(x)
    function = c_function("softplus", f"pull_softplus_{SUFFIX[x.dtype]}", "ipppi")
    function(x.numel(), address(gradients), address(x), address(out), torch.get_num_threads())
    return out


def _composite(x: Tensor) -> Tensor:
    magnitude = x.abs()
    return torch.log1p(torch.exp(-magnitude)) + 0.5 * (x + magnitude) - math.log(2.0)


def _save(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs)


def _derivative(ctx: Any, gradients: Tensor) -> Tensor:
    return pull_shifted_softplus(gradients, *ctx.saved_tensors)


_PULL: Final = define(
    "pull_shifted_softplus(Tensor gradients, Tensor x) -> Tensor",
    _pull,
    lambda gradients, x: x.new_empty(x.shape),
    lambda gradients, x: gradients * torch.sigmoid(x),
    triton="softplus:pull_shifted_softplus",
)

_SHIFTED_SOFTPLUS: Final = define(
    "shifted_softplus(Tensor x) -> Tensor",
    _compute,
    lambda x: x.new_empty(x.shape),
    _composite,
    derivative=_derivative,
    saved=_save,
    triton="softplus:shifted_softplus",
)

OPERATORS: Final = (_SHIFTED_SOFTPLUS, _PULL)
