"""Products of features with harmonics, channel by channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
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

    The constants are contracted with the harmonics first, which have no channels; one product of small matrices
    then serves all paths.

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
        self.out = tuple(out)
        self.components = dimension(left)
        self.register_buffer("couplings", torch.from_numpy(self._couplings(left, right)), persistent=False)

    def _couplings(self, left: Sequence[Irrep], right: Sequence[Irrep]) -> np.ndarray:
        """(components of the harmonics, results · components of the features); results as in `forward`."""
        rows: list[np.ndarray] = []
        for k, irrep in enumerate(self.out):
            own = [path for path in self.paths if path.out == k]
            block = np.zeros((irrep.dimension, len(own), dimension(right), self.components))
            for number, path in enumerate(own):
                one = coupling(left[path.left].degree, right[path.right].degree, irrep.degree)
                place = slices(right)[path.right], slices(left)[path.left]
                block[:, number, *place] = one.transpose(2, 1, 0) * math.sqrt(irrep.dimension)
            rows.append(block.reshape(-1, dimension(right), self.components))
        return np.concatenate(rows).transpose(1, 0, 2).reshape(dimension(right), -1)

    def forward(self, x: Tensor, y: Tensor, w: Tensor) -> list[Tensor]:
        """Features [..., m, C], harmonics [..., m'] and weights [..., P, C], in the order of ``paths``.

        Returns:
            For each irrep that is kept, [..., 2l + 1, P_l · C]: the results of its paths side by side.
        """
        mixing = torch.unflatten(y @ self.couplings, -1, (-1, self.components))
        coupled = mixing @ x
        results, row, path = [], 0, 0
        for irrep, count in zip(self.out, self.of_out, strict=True):
            size = irrep.dimension * count
            block = torch.unflatten(coupled[..., row : row + size, :], -2, (irrep.dimension, count))
            results.append((block * w[..., None, path : path + count, :]).flatten(-2))
            row, path = row + size, path + count
        return results
