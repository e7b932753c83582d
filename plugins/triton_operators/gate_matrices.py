"""Matrices of M3GNet's edge half for torch's products, from the panels that they are packed in for CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from halocline.plugins.fused.packing import Matrices, NetworkMatrices, rounded, unpacked


def matrices_of(weights: Tensor, channels: int, sums: int, functions: int, sizes: list[int]) -> Matrices:
    """All matrices by rows, and without the channels that fill panels; arguments are those of `unpacked`.

    They are gathered in one launch, since to take panels apart one by one would be a dozen.
    """
    places, shapes = _places(weights.shape[0], channels, sums, functions, tuple(sizes), weights.device)
    rows = weights.index_select(0, places).split([shape.numel() for shape in shapes])
    return _assembled((row.view(shape) for row, shape in zip(rows, shapes, strict=True)), sizes[1])


@cache
def _places(
    count: int, channels: int, sums: int, functions: int, sizes: tuple[int, ...], device: torch.device
) -> tuple[Tensor, list[torch.Size]]:
    """Where in the packed row the numbers of all matrices are, and their shapes, in the order of `_tensors`."""
    numbers = unpacked(torch.arange(count), channels, sums, functions, sizes)
    tensors = _tensors(_without_filling(numbers, channels))
    return torch.cat([each.flatten() for each in tensors]).to(device), [each.shape for each in tensors]


def _without_filling(matrices: Matrices, channels: int) -> Matrices:
    def both(matrix: Tensor) -> Tensor:
        """Of values and gates beside each other."""
        filled = matrix.view(*matrix.shape[:-1], 2, rounded(channels))
        return filled[..., :channels].flatten(-2)

    networks = []
    for first, layers in matrices.networks:
        *hidden, (values, gates, offsets) = layers
        last = values[:, :channels], gates[:, :channels], both(offsets)
        networks.append(NetworkMatrices(first[:channels], [*hidden, last]))
    return Matrices(both(matrices.three_body), both(matrices.factors), networks)


def _tensors(matrices: Matrices) -> list[Tensor]:
    found = [matrices.three_body, matrices.factors]
    for first, layers in matrices.networks:
        found += [first, *(each for layer in layers for each in layer)]
    return found


def _assembled(tensors: Iterator[Tensor], hidden: int) -> Matrices:
    """The reverse of `_tensors`."""
    three_body, factors = next(tensors), next(tensors)
    networks = [
        NetworkMatrices(next(tensors), [(next(tensors), next(tensors), next(tensors)) for _ in range(hidden + 1)])
        for _ in range(2)
    ]
    return Matrices(three_body, factors, networks)
