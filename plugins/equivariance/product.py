"""Products of features with harmonics, channel by channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn

from halocline.plugins.equivariance.couplings import coupling
from halocline.plugins.equivariance.irreps import Irrep, dimension, slices


@final
class Path(NamedTuple):
    """One coupling of a product, by the places of its irreps."""

    left: int
    right: int
    out: int


def paths(left: Sequence[Irrep], right: Sequence[Irrep], out: Sequence[Irrep]) -> list[Path]:
    """All couplings that O(3) allows, by their results, then by what is multiplied."""
    return [
        Path(i, j, k)
        for k, i, j in product(range(len(out)), range(len(left)), range(len(right)))
        if out[k] in left[i].product(right[j])
    ]


@final
class ChannelwiseProduct(nn.Module):
    """Σ_ab √(2l₃+1) C_abc x_a y_b w for each path: features times harmonics times a weight for each channel.

    The constants are contracted with the harmonics first, which have no channels, and features are weighted before
    they are mixed, as they have fewer components than results.

    Args:
        left: irreps of the features.
        right: irreps of the harmonics.
        out: irreps to keep.
    """

    couplings: Tensor

    def __init__(self, left: Sequence[Irrep], right: Sequence[Irrep], out: Sequence[Irrep]) -> None:
        super().__init__()
        self.paths = paths(left, right, out)
        self.of_out = [sum(path.out == k for path in self.paths) for k in range(len(out))]
        self.places = slices(left)
        self.shapes = [(out[path.out].dimension, left[path.left].dimension) for path in self.paths]
        mixing = [self._mixing(path, left, right, out) for path in self.paths]
        self.register_buffer("couplings", torch.from_numpy(np.concatenate(mixing, axis=1)), persistent=False)

    @staticmethod
    def _mixing(path: Path, left: Sequence[Irrep], right: Sequence[Irrep], out: Sequence[Irrep]) -> np.ndarray:
        """What harmonics make of a path: (components of all harmonics, results · components of the features)."""
        irreps = left[path.left], right[path.right], out[path.out]
        one = coupling(*(irrep.degree for irrep in irreps)) * math.sqrt(irreps[2].dimension)
        matrix = np.zeros((dimension(right), irreps[2].dimension * irreps[0].dimension))
        matrix[slices(right)[path.right]] = one.transpose(1, 2, 0).reshape(irreps[1].dimension, -1)
        return matrix

    def forward(self, x: Tensor, y: Tensor, w: Tensor, add_up: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Features [..., m, C], harmonics [..., m'] and weights [..., P, C], in the order of ``paths``.

        Args:
            x: features.
            y: harmonics.
            w: weights.
            add_up: is given the results of each path, [..., 2l + 1, C], one after the other, so that those of all
                are never there at once.

        Returns:
            What it makes of each.
        """
        parts = torch.split(x, [place.stop - place.start for place in self.places], -2)
        mixings = torch.split(y @ self.couplings, [rows * columns for rows, columns in self.shapes], -1)
        weights = torch.split(w, 1, -2)  # not by slices, each of which would have a gradient of the full size
        sums = []
        for path, shape, mixing, weight in zip(self.paths, self.shapes, mixings, weights, strict=True):
            matrix, weighted = torch.unflatten(mixing, -1, shape), parts[path.left] * weight
            # Scalars are one term each, and matrix products of that size are slow.
            sums.append(add_up(matrix * weighted if shape[1] == 1 else matrix @ weighted))
        return sums
