"""TensorNet potentials of MatGL (https://github.com/materialsvirtuallab/matgl), of its backend PyG.

The published weights go with the commit of MatGL that they lie beside, in which the first layer sums at the end of
an edge; releases from 4.0 on sum at its start, where the two atoms of a pair have changed places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.model.config import to_json
from halocline.plugins.backbones.m3gnet.radial import SmoothBessel
from halocline.plugins.backbones.m3gnet.renaming import by_number, gated_mlp
from halocline.plugins.backbones.tensornet.config import TensorNetConfig


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a potential of MatGL into one of ours.

    Args:
        config: hyper-parameters of its model.
        tensors: of its state.

    Raises:
        BackboneError: the hyper-parameters are none of a TensorNet.
    """
    ours = TensorNetConfig(
        species=tuple(config["element_types"]),
        features=config["units"],
        layers=1 + config["nblocks"],
        radial=config["max_n"],
        cutoff=config["cutoff"],
    )
    model = {name.removeprefix("model."): tensor.double() for name, tensor in tensors.items()}
    renamed = _directions(model, ours) | _readout(model)
    for layer in range(1, ours.layers):
        renamed |= _interaction(layer, model)
    basis = SmoothBessel(ours.radial, ours.cutoff).state_dict()
    for layer in range(ours.layers):
        renamed |= {f"layers.{layer}.weights.basis.{key}": tensor.clone() for key, tensor in basis.items()}
    weights = {name: tensor.contiguous() for name, tensor in renamed.items()}
    energies = dict(zip(ours.species, model["element_refs.property_offset"].tolist(), strict=True))
    return Checkpoint(backbone="tensornet", config=to_json(ours), tensors=weights, reference_energies=energies)


def _directions(model: Mapping[str, Tensor], config: TensorNetConfig) -> dict[str, Tensor]:
    """Embedding and first layer, of whose pairs the neighbour comes first."""
    theirs, ours = "tensor_embedding", "layers.0"
    near, own = model[f"{theirs}.emb2.weight"].chunk(2, 1)
    projections = [f"{theirs}.distance_proj{part}" for part in (1, 2, 3)]
    return {
        "embed.table.weight": by_number(config.species, model[f"{theirs}.emb.weight"]),
        f"{ours}.weights.layers.0.weight": torch.cat([model[f"{name}.weight"] for name in projections]),
        f"{ours}.weights.layers.0.bias": torch.cat([model[f"{name}.bias"] for name in projections]),
        f"{ours}.near.weight": near,
        f"{ours}.own.weight": own,
        f"{ours}.own.bias": model[f"{theirs}.emb2.bias"],
        f"{ours}.norm.weight": model[f"{theirs}.init_norm.weight"],
        f"{ours}.norm.bias": model[f"{theirs}.init_norm.bias"],
        **{f"{ours}.mix.maps.{part}.weight": model[f"{theirs}.linears_tensor.{part}.weight"] for part in range(3)},
        f"{ours}.scales.0.weight": model[f"{theirs}.linears_scalar.0.weight"],
        f"{ours}.scales.0.bias": model[f"{theirs}.linears_scalar.0.bias"],
        f"{ours}.scales.1.weight": _part_after_part(model[f"{theirs}.linears_scalar.1.weight"]),
        f"{ours}.scales.1.bias": _part_after_part(model[f"{theirs}.linears_scalar.1.bias"]),
    }


def _interaction(layer: int, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    theirs, ours = f"layers.{layer - 1}", f"layers.{layer}"
    renamed = {}
    for kind in ("weight", "bias"):
        for number in range(2):
            name = f"{ours}.weights.layers.{number}.{kind}"
            renamed[name] = model[f"{theirs}.linears_scalar.{number}.{kind}"]
        renamed[f"{ours}.weights.layers.2.{kind}"] = _part_after_part(model[f"{theirs}.linears_scalar.2.{kind}"])
    for part in range(3):
        renamed[f"{ours}.before.maps.{part}.weight"] = model[f"{theirs}.linears_tensor.{part}.weight"]
        renamed[f"{ours}.after.maps.{part}.weight"] = model[f"{theirs}.linears_tensor.{3 + part}.weight"]
    return renamed


def _readout(model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The scale of energies goes into the last layer of values, which is linear."""
    perceptrons = []
    for part in ("layers", "gates"):
        names = [f"final_layer.gated.{part}.{2 * layer}" for layer in range(4)]
        perceptrons.append([(model[f"{name}.weight"], model[f"{name}.bias"]) for name in names])
    values, gates = perceptrons
    weight, bias = values[-1]
    values[-1] = (weight * model["data_std"], bias * model["data_std"])
    return {
        "readout.norm.weight": model["out_norm.weight"],
        "readout.norm.bias": model["out_norm.bias"],
        "readout.linear.weight": model["linear.weight"],
        "readout.linear.bias": model["linear.bias"],
    } | gated_mlp("readout.final", values, gates)


def _part_after_part(rows: Tensor) -> Tensor:
    """Rows that lie channel by channel, three parts of each, (3C, *), in the order of `radial.Weights`."""
    return torch.cat([rows[part::3] for part in range(3)])
