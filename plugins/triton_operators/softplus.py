"""The shifted softplus and its derivative; see `halocline.plugins.fused.softplus`."""

from __future__ import annotations

from typing import Any, Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from halocline.plugins.triton_operators.blocks import Blocks
from halocline.plugins.triton_operators.launch import launch
from halocline.plugins.triton_operators.rows import CHANGING

_CANDIDATES: Final = tuple(
    {"BLOCK": block, "num_warps": warps} for block, warps in ((1024, 4), (512, 4), (2048, 8), (4096, 8))
)


def shifted_softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) - log 2, of any shape."""
    x = x.contiguous()
    out = torch.empty_like(x)
    _launch(_softplus, [x, out], out)
    return out


def pull_shifted_softplus(gradients: Tensor, x: Tensor) -> Tensor:
    """Gradients times the derivative at x, likewise."""
    gradients, x = gradients.contiguous(), x.contiguous()
    out = torch.empty_like(x)
    _launch(_pull, [gradients, x, out], out)
    return out


def _launch(kernel: Any, tensors: list[Tensor], out: Tensor) -> None:
    count = out.numel()

    def grid(blocks: Blocks) -> tuple[int, ...]:
        return (triton.cdiv(count, blocks["BLOCK"]),)

    launch(kernel, [*tensors, count], out, _CANDIDATES, grid, work=count)


@triton.jit(do_not_specialize=CHANGING)
def _softplus(x_at, out_at, count, BLOCK: tl.constexpr):
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_at + places, mask=places < count, other=0.0)
    u = tl.exp(-tl.abs(x))
    # log(1 + u): what rounding of 1 + u takes away is put back by the ratio.
    one_more = 1.0 + u
    lost = one_more - 1.0
    log = tl.where(lost == 0.0, u, tl.log(one_more) * (u / tl.where(lost == 0.0, 1.0, lost)))
    tl.store(out_at + places, log + tl.maximum(x, 0.0) - 0.6931471805599453, mask=places < count)


@triton.jit(do_not_specialize=CHANGING)
def _pull(gradients_at, x_at, out_at, count, BLOCK: tl.constexpr):
    places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_at + places, mask=places < count, other=0.0)
    gradient = tl.load(gradients_at + places, mask=places < count, other=0.0)
    u = tl.exp(-tl.abs(x))
    tl.store(out_at + places, gradient * tl.where(x >= 0.0, 1.0, u) / (1.0 + u), mask=places < count)
