"""Models of Nequix (T. Koker et al., arXiv:2508.16067; https://github.com/atomicarchitects/nequix).

Upstream normalises at run time what we fold into the weights: each linear map by the root of its inputs, gates by
the second moment of their activation, which the maps that read them are scaled by. The networks of distances are
not normalised. All irreps have the parity of harmonics, so that the signs of couplings are no convention.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.model.config import to_json
from halocline.plugins.backbones.nequip.config import NequIPConfig

#: What e3nn-jax multiplies SiLU by: the inverse root of its second moment over 1,000,001 quantiles of the normal
#: distribution.
SILU = 1.6765620560798837


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a model of Nequix into one of ours.

    Args:
        config: sizes and choices, as the reader of its files gives them.
        tensors: of its modules.

    Raises:
        BackboneError: the sizes are none of a NequIP.
    """
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    ours = _config(config)
    species = len(ours.species)
    renamed = {
        # The first layer reads which element an atom is, as a vector that is 1 in one place.
        "embed.table": torch.eye(species, dtype=torch.float64),
        "readout.out.weight": weights["readout.0"].T * (SILU / math.sqrt(len(weights["readout.0"]))),
        "readout.scales": torch.full((species,), config["scale"], dtype=torch.float64),
    }
    for layer in range(ours.layers):
        prefix = f"layers.{layer}."
        found = _layer(
            ours, layer, {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        )
        renamed |= {prefix + name: tensor for name, tensor in found.items()}
    references = weights["atom_energies"] + config["shift"]
    return Checkpoint(
        backbone="nequip",
        config=to_json(ours),
        tensors={name: tensor.contiguous() for name, tensor in renamed.items()},
        reference_energies=dict(zip(ours.species, references.tolist(), strict=True)),
    )


def _config(config: Mapping[str, Any]) -> NequIPConfig:
    return NequIPConfig(
        species=tuple(config["species"]),
        irreps="+".join(f"{count}x{degree}{'eo'[degree % 2]}" for degree, count in enumerate(config["irreps"])),
        embedding=len(config["species"]),
        layers=config["layers"],
        max_degree=config["lmax"],
        cutoff=config["cutoff"],
        bessels=config["bessels"],
        envelope_order=config["envelope_order"],
        radial_units=tuple(config["radial_units"]),
        denominator=math.sqrt(config["neighbours"]),
        normalised=config["normalised"],
    )


def _layer(config: NequIPConfig, layer: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of one layer under our names, from those under upstream's."""
    scaled = SILU if layer else 1.0  # of what the gates before leave; the embedding is no gate
    radial = _parts(weights, "radial_mlp")
    renamed = {f"weights.layers.{number}.weight": matrix.T for number, matrix in enumerate(radial)}
    counts = torch.arange(1, config.bessels + 1, dtype=torch.float64)
    renamed["weights.waves"] = counts * (math.pi / config.cutoff)
    renamed |= _linear("up", _parts(weights, "linear_1"), scaled)
    renamed |= _linear("down", _parts(weights, "linear_2"), 1.0)
    renamed |= _linear("skip", _parts(weights, "skip"), scaled)
    norm = _parts(weights, "layer_norm")
    return renamed | {f"norm.weights.{degree}": vector for degree, vector in enumerate(norm)}


def _parts(weights: Mapping[str, Tensor], module: str) -> list[Tensor]:
    """Those of a module, in their order."""
    return [tensor for name, tensor in weights.items() if name.startswith(f"{module}.")]


def _linear(name: str, matrices: Sequence[Tensor], scaled: float) -> dict[str, Tensor]:
    """Matrices of each irrep, divided by the root of their inputs."""
    return {
        f"{name}.weights.{degree}": matrix * (scaled / math.sqrt(len(matrix)))
        for degree, matrix in enumerate(matrices)
    }
