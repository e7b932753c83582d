"""What converters of both dialects share: from the tensors of another package to a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ase.data import atomic_numbers
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.plugins.backbones.m3gnet.config import ROWS


def checkpoint(config: dict[str, Any], tensors: Mapping[str, Tensor], energies: Mapping[str, float]) -> Checkpoint:
    """A checkpoint in float64, in which numbers of lower precision are exact.

    Args:
        config: of the backbone.
        tensors: its weights and constants by name.
        energies: reference energy of each species, eV.
    """
    weights = {name: tensor.double().contiguous() for name, tensor in tensors.items()}
    return Checkpoint(backbone="m3gnet", config=config, tensors=weights, reference_energies=dict(energies))


def by_number(symbols: tuple[str, ...], rows: Tensor) -> Tensor:
    """Spread rows of elements (S, ...) over all atomic numbers, (ROWS, ...); zero where there is none."""
    spread = torch.zeros((ROWS, *rows.shape[1:]), dtype=torch.float64)
    spread[[atomic_numbers[symbol] for symbol in symbols]] = rows.double()
    return spread


def edge_mlp(
    name: str, values: list[tuple[Tensor, Tensor]], gates: list[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """An `EdgeMLP` from two perceptrons of [v_centre, v_end, e].

    Args:
        name: of ours.
        values: weight and offset of each layer of g.
        gates: likewise of σ.
    """
    weight, bias = (torch.cat(pair) for pair in zip(values[0], gates[0], strict=True))
    centre, end, edge = weight.chunk(3, dim=1)
    first = {"centre.weight": centre, "end.weight": end, "edge.weight": edge, "edge.bias": bias}
    return {f"{name}.{key}": tensor for key, tensor in first.items()} | gated_mlp(name, values[1:], gates[1:])


def gated_mlp(
    name: str, values: list[tuple[Tensor, ...]] | Any, gates: list[tuple[Tensor, ...]] | Any
) -> dict[str, Tensor]:
    """A `GatedMLP` from two perceptrons; layers without offset are tuples of one tensor."""
    return dict(_layers(f"{name}.values", values)) | dict(_layers(f"{name}.gates", gates))


def _layers(name: str, layers: list[tuple[Tensor, ...]]) -> Iterator[tuple[str, Tensor]]:
    for number, tensors in enumerate(layers):
        for kind, tensor in zip(("weight", "bias"), tensors, strict=False):
            yield f"{name}.{number}.{kind}", tensor
