"""Linear maps that keep irreps: each mixes its channels, all its components alike (Schur's lemma)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from halocline.plugins.equivariance.irreps import Irrep, slices


@final
class IrrepLinear(nn.Module):
    """One matrix for each irrep.

    Args:
        inputs: channels C of each irrep; they may differ.
        outputs: channels C', the same for all.
    """

    def __init__(self, inputs: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.randn(size, outputs, dtype=torch.float64) / math.sqrt(size) for size in inputs
        )

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """The components of each irrep, (n, 2l + 1, C), → all of them, (n, m, C')."""
        mixed = [part @ weight for part, weight in zip(parts, self.weights, strict=True)]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=-2)


@final
class SpeciesLinear(nn.Module):
    """One matrix for each irrep and species.

    Args:
        irreps: of what it maps.
        species: how many there are, S.
        channels: C.
    """

    def __init__(self, irreps: Sequence[Irrep], species: int, channels: int) -> None:
        super().__init__()
        self.places = slices(irreps)
        shape = (species, len(irreps), channels, channels)
        self.weight = nn.Parameter(torch.randn(shape, dtype=torch.float64) / math.sqrt(channels))

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Features (n, m, C) with m of the irreps or more, and species (n,) → (n, m, C).

        The matrices are gathered: with many species, a product with each would cost as many times as much.
        """
        weight = self.weight.index_select(0, rows)
        mixed = [x[:, place] @ weight[:, number] for number, place in enumerate(self.places)]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1)
