"""Linear maps that keep irreps: each mixes its channels, all its components alike (Schur's lemma)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from halocline.plugins.equivariance.irreps import Irrep, slices

#: Up to so many species, a product with the matrices of all of them is faster than a matrix for each atom.
FEW = 8


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

    Attributes:
        species: (S, S), ones on the diagonal.

    Args:
        irreps: of what it maps.
        species: how many there are, S.
        channels: C.
    """

    species: Tensor

    def __init__(self, irreps: Sequence[Irrep], species: int, channels: int) -> None:
        super().__init__()
        self.places = slices(irreps)
        shape = (species, len(irreps), channels, channels)
        self.register_buffer("species", torch.eye(species, dtype=torch.float64), persistent=False)
        self.weight = nn.Parameter(torch.randn(shape, dtype=torch.float64) / math.sqrt(channels))

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Features (n, m, C) with m of the irreps or more, and species (n,) → (n, m, C)."""
        multiply = self._by_all if self.weight.shape[0] <= FEW else self._by_own
        mixed = [multiply(x[:, place], self.weight[:, number], rows) for number, place in enumerate(self.places)]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1)

    def _by_all(self, x: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
        """One product with the matrices of all species, of features that are zero but for the own one."""
        own = self.species.index_select(0, rows)[:, None, :, None]
        return (x.unsqueeze(2) * own).flatten(2) @ weight.reshape(-1, weight.shape[2])

    @staticmethod
    def _by_own(x: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
        """A copy of its matrix for each atom: a product with every one would cost as many times as much."""
        return x @ weight.index_select(0, rows)
