"""Attention among the edges of each atom, the one to itself first.

Upstream multiplies queries and keys by spherical harmonics of their edges, so that their product is weighted by a
Legendre polynomial of the angle between the edges; here that is what is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.escaip.config import EScAIPConfig
from halocline.plugins.backbones.escaip.dense import linear
from halocline.plugins.backbones.escaip.ranks import OUT, log_envelope


@final
class Attention(nn.Module):
    """softmax(Σ_l P_l(cos θ) q_l · k_l / √D + b) v, with features l of each head.

    Args:
        config: of the model.
        own_only: whether nothing but what the edge to itself gets of it is asked for.
    """

    def __init__(self, config: EScAIPConfig, *, own_only: bool) -> None:
        super().__init__()
        self.heads, self.frequencies, self.capacity = config.heads, config.frequencies, config.capacity
        self.own_only = own_only
        expanded = sum((2 * degree + 1) * count for degree, count in enumerate(config.frequencies))
        self.scale = 1.0 / math.sqrt(8 * math.ceil(expanded / 8))  # upstream pads to eights
        self.query, self.key, self.value, self.out = (linear(config.hidden, config.hidden) for _ in range(4))

    def forward(self, block: Block, edges: Tensor, own: Tensor, extents: Tensor) -> tuple[Tensor | None, Tensor]:
        """Messages [..., H] and (n, H), with what the envelope is of, [...] → [..., H] and (n, H).

        Those of edges are None where they are not asked for.
        """
        queries, keys, values, biases = self.slots(block, edges, own, extents)
        logits = self._logits(block, queries, keys) + biases[:, None, None]
        return self.mixed(block, torch.softmax(logits, -1) @ values)

    def slots(
        self, block: Block, edges: Tensor, own: Tensor, extents: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What attention is made of, the own edge first: queries, keys and values, and what is added to logits.

        Returns:
            (n, heads, q, D), of the own edge alone where no other is asked for; twice (n, heads, s, D); (n, s).
        """
        queries = self.query(own)[:, None] if self.own_only else self._slots(block, edges, own, self.query)
        keys, values = (self._slots(block, edges, own, each) for each in (self.key, self.value))
        bias = log_envelope(OUT + block.rows(extents - OUT, self.capacity))  # what is no edge is out
        biases = torch.cat([torch.zeros_like(bias[:, :1]), bias], 1)
        return self._split(queries), self._split(keys), self._split(values), biases

    def mixed(self, block: Block, values: Tensor) -> tuple[Tensor | None, Tensor]:
        """What `forward` returns, of values (n, heads, q, D) that were mixed."""
        out: Tensor = self.out(torch.cat(values.unbind(1), -1))
        own = out[:, 0]
        return (None if self.own_only else block.from_rows(out[:, 1:])), own

    def directions(self, block: Block) -> Tensor:
        """Unit vectors (n, k, 3) of the edges of each receiver, zeros after them."""
        return block.rows(block.vectors / block.lengths()[..., None], self.capacity)

    def _slots(self, block: Block, edges: Tensor, own: Tensor, layer: nn.Module) -> Tensor:
        """A dense layer on edges [..., H] and own ones (n, H), side by side: (n, 1 + k, H)."""
        return torch.cat([layer(own)[:, None], block.rows(layer(edges), self.capacity)], 1)

    def _split(self, slots: Tensor) -> Tensor:
        """(n, s, H) → (n, heads, s, H / heads), laid out anew, so that products of matrices see batches."""
        return torch.stack(torch.split(slots, slots.shape[2] // self.heads, -1), 1)

    def _logits(self, block: Block, queries: Tensor, keys: Tensor) -> Tensor:
        """(n, heads, q, s) of queries (n, heads, q, D) and keys (n, heads, s, D)."""
        widths = list(self.frequencies)
        parts = zip(torch.split(queries * self.scale, widths, -1), torch.split(keys, widths, -1), strict=True)
        products = (q @ k.transpose(-1, -2) for q, k in parts if q.shape[-1])
        if self.own_only:  # the edge to itself has no direction
            return next(products)
        angles = legendre(self.directions(block), len(self.frequencies))
        weights = [p for p, count in zip(angles, self.frequencies, strict=True) if count]
        return sum_of(weight[:, None] * product for weight, product in zip(weights, products, strict=True))


def legendre(directions: Tensor, count: int) -> list[Tensor]:
    """P_l of the angles between all slots of an atom, its own included, l < count: (n, 1 + k, 1 + k).

    Slots without a direction meet all others in P_0 alone, as harmonics of nothing are zero.

    Args:
        directions: (n, k, 3), unit vectors or zero.
        count: of polynomials.
    """
    directions = torch.cat([torch.zeros_like(directions[:, :1]), directions], 1)
    cosines = directions @ directions.transpose(1, 2)
    squares = (directions * directions).sum(-1)
    both = squares[:, :, None] * squares[:, None, :]
    values = [torch.ones_like(cosines), cosines]
    for degree in range(1, count - 1):  # Bonnet's recursion, for vectors of any length
        values.append(((2 * degree + 1) * cosines * values[-1] - degree * both * values[-2]) / (degree + 1))
    return values[:count]


def sum_of(terms: Iterator[Tensor] | Sequence[Tensor]) -> Tensor:
    """The sum of some tensors, one at least."""
    terms = iter(terms)
    total = next(terms)
    for term in terms:
        total = total + term
    return total
