"""EScAIP's attention by torch's fused one, on GPUs.

The logits Σ_l P_l(cos θ_jk) q_l(j) · k_l(k) / √D + b_k are one product of two vectors: by the addition theorem P_l
is a product of harmonics, which multiply queries and keys, and b_k is one more feature of a key that meets a one.
So torch needs no mask, of which it has derivatives in one of its fused ways alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, final

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from halocline.aggregation import Block, Form
from halocline.model.stage import Stage
from halocline.plugins.backbones.escaip.attention import Attention
from halocline.plugins.backbones.escaip.stages import Layer
from halocline.plugins.equivariance import spherical_harmonics
from halocline.program.capabilities import Precision
from halocline.program.kernel import Kernel

#: Features of fused products come in so many, zeros after them.
MULTIPLE: Final = 8


@final
class FusedAttention(Kernel):
    """Layers of EScAIP whose attention is one call, that keeps no weights of pairs of edges.

    In float32, which is what torch has fused code for. Its derivative has no derivative there, so fits have the
    plain layer, as with every kernel.
    """

    version = 1
    forms = frozenset({Form.EDGES})
    devices = ("cuda",)
    precisions = (Precision.FLOAT32,)
    other_code_on_device: ClassVar[bool] = True

    def suits(self, stage: Stage) -> bool:
        """Whether it is a layer of EScAIP."""
        return isinstance(stage, Layer)

    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """See `Kernel.replace`."""
        del form, precision
        assert isinstance(stage, Layer)
        attention = stage.attention
        assert isinstance(attention, Attention)
        stage.set_submodule("attention", OneCall(attention, device))
        return stage


@final
class OneCall(nn.Module):
    """Attention whose products, softmax and sums are one call of torch.

    Args:
        plain: the definition, which runs elsewhere: programs are traced on CPUs, and hold the definition.
        device: kind of device that the call is for.
    """

    def __init__(self, plain: Attention, device: str) -> None:
        super().__init__()
        self.plain, self.device = plain, device

    def forward(self, block: Block, edges: Tensor, own: Tensor, extents: Tensor) -> tuple[Tensor | None, Tensor]:
        """See `Attention.forward`."""
        plain = self.plain
        if edges.device.type != self.device:
            result: tuple[Tensor | None, Tensor] = plain(block, edges, own, extents)
            return result
        queries, keys, values, biases = plain.slots(block, edges, own, extents)
        if plain.own_only:  # the edge to itself has no direction
            pairs = tuple(each[..., : plain.frequencies[0]] for each in (queries, keys))
        else:
            harmonics = self._harmonics(block)
            pairs = expanded(queries, harmonics), expanded(keys, harmonics)
        with_bias = biased(pairs[0] * plain.scale, pairs[1], biases)
        return plain.mixed(block, scaled_dot_product_attention(*with_bias, values, scale=1.0))

    def _harmonics(self, block: Block) -> list[Tensor]:
        """Of each degree that features have, (n, s, (2l + 1) c_l), each c_l times; zeros without a direction."""
        frequencies = self.plain.frequencies
        there = block.rows(torch.ones_like(block.lengths()), self.plain.capacity)
        directions = self.plain.directions(block)
        found = spherical_harmonics(directions, len(frequencies) - 1)
        columns = []
        for degree, count in enumerate(frequencies):
            part = found[..., degree * degree : (degree + 1) ** 2] * (2 * degree + 1) ** -0.5
            part = part * there[..., None] if degree else torch.ones_like(part)
            own = torch.zeros_like(part[:, :1]) if degree else torch.ones_like(part[:, :1])
            columns.append(torch.cat([own, part], 1).repeat_interleave(count, -1))
        return columns


def expanded(features: Tensor, harmonics: Sequence[Tensor]) -> Tensor:
    """Features l (n, heads, s, D) of each slot times its harmonics l: (n, heads, s, Σ_l (2l + 1) c_l).

    Args:
        features: c_l for each degree, one after another.
        harmonics: (n, s, (2l + 1) c_l) for each degree.
    """
    widths = [each.shape[-1] // (2 * degree + 1) for degree, each in enumerate(harmonics)]
    parts = torch.split(features, widths, -1)
    repeated = (part.repeat(1, 1, 1, 2 * degree + 1) for degree, part in enumerate(parts))
    return torch.cat([part * each[:, None] for part, each in zip(repeated, harmonics, strict=True)], -1)


def biased(queries: Tensor, keys: Tensor, biases: Tensor) -> tuple[Tensor, Tensor]:
    """Queries (n, heads, q, D) and keys (n, heads, s, D) with a feature more, whose products are biases (n, s)."""
    zeros = -(queries.shape[-1] + 1) % MULTIPLE
    ones = torch.ones_like(queries[..., :1])
    column = biases[:, None, :, None].expand_as(keys[..., :1])
    padding = (each.new_zeros((*each.shape[:-1], zeros)) for each in (queries, keys))
    return tuple(
        torch.cat([each, more, rest], -1)
        for each, more, rest in zip((queries, keys), (ones, column), padding, strict=True)
    )  # type: ignore[return-value]
