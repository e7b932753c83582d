"""Features whose irreps have different numbers of channels.

A tensor of them is flat, ``(..., D)``: the components of one irrep after those of another, of each component all
channels. Apart they are ``(..., 2l + 1, C_l)``, one tensor for each irrep, as elsewhere in this package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from halocline.plugins.equivariance.irreps import Irrep, Irreps
from halocline.plugins.equivariance.product import ChannelwiseProduct


@final
class Space(NamedTuple):
    """The irreps of a tensor and the channels that each of them has.

    Attributes:
        terms: channels and irrep, in the order of their components; each irrep once.
    """

    terms: tuple[tuple[int, Irrep], ...]

    def __str__(self) -> str:
        return "+".join(f"{count}x{irrep}" for count, irrep in self.terms)

    @property
    def irreps(self) -> Irreps:
        """Irreps alone."""
        return tuple(irrep for _, irrep in self.terms)

    @property
    def channels(self) -> list[int]:
        """Channels of each irrep."""
        return [count for count, _ in self.terms]

    def of(self, irrep: Irrep) -> int:
        """Channels of one irrep; 0 if it is not there."""
        return next((count for count, found in self.terms if found == irrep), 0)

    def only(self, irreps: Sequence[Irrep]) -> Space:
        """What is left with these irreps alone."""
        return Space(tuple(term for term in self.terms if term[1] in irreps))

    def split(self, x: Tensor) -> list[Tensor]:
        """Flat [..., D] → [..., 2l + 1, C] of each irrep."""
        parts = torch.split(x, [count * irrep.dimension for count, irrep in self.terms], -1)
        return [
            torch.unflatten(part, -1, (irrep.dimension, count))
            for part, (count, irrep) in zip(parts, self.terms, strict=True)
        ]

    @staticmethod
    def join(parts: Sequence[Tensor]) -> Tensor:
        """[..., 2l + 1, C] of each irrep → flat [..., D]."""
        return torch.cat([part.flatten(-2) for part in parts], -1) if len(parts) > 1 else parts[0].flatten(-2)


@final
class UnevenLinear(nn.Module):
    """One matrix for each irrep, which mixes its channels and keeps its components.

    Args:
        sizes: channels of each irrep before and after.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.randn(size, dtype=torch.float64) / math.sqrt(size[0]) for size in sizes
        )

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """[..., 2l + 1, C] of each irrep → [..., 2l + 1, C'] of each."""
        # In one piece, all rows are one product of matrices; otherwise torch makes one for each atom.
        return [part.contiguous() @ weight for part, weight in zip(parts, self.weights, strict=True)]


@final
class UnevenProduct(nn.Module):
    """`ChannelwiseProduct` of features with harmonics, each path with the channels of the features it multiplies.

    Attributes:
        widths: channels of each path.
        inputs: of each result, the channels of all paths that lead to it.
        ends: of each result, the first of its paths, and the one after its last.
        out: irreps of the results.

    Args:
        left: of the features.
        right: irreps of the harmonics.
        out: irreps to keep, which all must have a path.
    """

    def __init__(self, left: Space, right: Sequence[Irrep], out: Sequence[Irrep]) -> None:
        super().__init__()
        self.plain, self.out = ChannelwiseProduct(left.irreps, right, out), tuple(out)
        self.widths = [left.channels[path.left] for path in self.plain.paths]
        ends = list(accumulate(self.plain.of_out, initial=0))
        self.ends = list(pairwise(ends))
        self.inputs = [sum(self.widths[start:end]) for start, end in self.ends]

    def forward(
        self, parts: Sequence[Tensor], y: Tensor, w: Tensor, add_up: Callable[[Tensor], Tensor]
    ) -> list[Tensor]:
        """Features [..., 2l + 1, C_l], harmonics [..., m'] and weights [..., Σ C] of all paths, in their order.

        Args:
            parts: features of each irrep.
            y: harmonics.
            w: weights.
            add_up: as for `ChannelwiseProduct`.

        Returns:
            Of each irrep to keep, what all its paths give, side by side as channels.
        """
        shapes = self.plain.shapes
        mixings = torch.split(y @ self.plain.couplings, [rows * columns for rows, columns in shapes], -1)
        weights = torch.split(w.unsqueeze(-2), self.widths, -1)
        sums = []
        for path, shape, mixing, weight in zip(self.plain.paths, shapes, mixings, weights, strict=True):
            matrix, weighted = torch.unflatten(mixing, -1, shape), parts[path.left] * weight
            # Scalars are one term each, and matrix products of that size are slow.
            sums.append(add_up(matrix * weighted if shape[1] == 1 else matrix @ weighted))
        return [torch.cat(sums[start:end], -1) for start, end in self.ends]
