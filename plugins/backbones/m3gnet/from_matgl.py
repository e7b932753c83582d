"""M3GNet potentials of MatGL (R. Ceder's and S. P. Ong's groups; https://github.com/materialsvirtuallab/matgl).

The published weights were trained with messages summed at the end of an edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.model.config import to_json
from halocline.plugins.backbones.m3gnet.config import M3GNetConfig
from halocline.plugins.backbones.m3gnet.radial import SmoothBessel, SphericalBessel, bessel_amplitudes
from halocline.plugins.backbones.m3gnet.renaming import by_number, checkpoint, edge_mlp, gated_mlp


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a potential of MatGL into one of ours.

    Args:
        config: hyper-parameters of its model.
        tensors: of its state; and ``model.basis_expansion.sbf.roots_slice`` and ``.inv_norm``, (L, N), if its
            basis is not smooth.

    Raises:
        BackboneError: the hyper-parameters are none of an M3GNet.
    """
    ours = M3GNetConfig(
        species=tuple(config["element_types"]),
        dialect="matgl",
        sums="end",
        radial="smooth" if config["use_smooth"] else "bessel",
        features=config["dim_node_embedding"],
        units=config["units"],
        layers=config["nblocks"],
        max_l=config["max_l"],
        max_n=config["max_n"],
        cutoff=config["cutoff"],
        threebody_cutoff=config["threebody_cutoff"],
    )
    model = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    renamed = _ends(model, ours.species)
    for layer in range(ours.layers):
        renamed |= _layer(layer, model) | _constants(f"layers.{layer}", model, ours)
    energies = model["element_refs.property_offset"].double().tolist()
    return checkpoint(to_json(ours), renamed, dict(zip(ours.species, energies, strict=True)))


def _ends(model: Mapping[str, Tensor], species: tuple[str, ...]) -> dict[str, Tensor]:
    """Embeddings and readout."""
    final = "final_layer.gated"
    return {
        "embed.table.weight": by_number(species, model["embedding.layer_node_embedding.weight"]),
        "embed.scale": by_number(species, model["data_std"].expand(len(species))),
        "layers.0.encoder.weight": model["embedding.layer_edge_embedding.layers.0.weight"],
        "layers.0.encoder.bias": model["embedding.layer_edge_embedding.layers.0.bias"],
    } | gated_mlp("readout.final", _linears(model, f"{final}.layers", 4), _linears(model, f"{final}.gates", 4))


def _layer(layer: int, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    theirs, ours = f"three_body_interactions.{layer}", f"layers.{layer}"
    bond = f"{theirs}.update_network_bond"
    renamed = {
        f"{ours}.three_body.gate.weight": model[f"{theirs}.update_network_atom.layers.0.weight"],
        f"{ours}.three_body.gate.bias": model[f"{theirs}.update_network_atom.layers.0.bias"],
    } | gated_mlp(
        f"{ours}.three_body.update", [(model[f"{bond}.layers.0.weight"],)], [(model[f"{bond}.gates.0.weight"],)]
    )
    for end, name in (("edge", "edge"), ("atom", "node")):
        update = f"graph_layers.{layer}.conv.{name}_update_func"
        renamed[f"{ours}.{end}_weight.weight"] = model[f"graph_layers.{layer}.conv.{name}_weight_func.weight"]
        renamed |= edge_mlp(
            f"{ours}.{end}_update", _linears(model, f"{update}.layers", 3), _linears(model, f"{update}.gates", 3)
        )
    return renamed


def _linears(model: Mapping[str, Tensor], name: str, count: int) -> list[tuple[Tensor, Tensor]]:
    """Weights and offsets of a perceptron, which MatGL counts together with its activations."""
    return [(model[f"{name}.{2 * i}.weight"], model[f"{name}.{2 * i}.bias"]) for i in range(count)]


def _constants(name: str, model: Mapping[str, Tensor], config: M3GNetConfig) -> dict[str, Tensor]:
    """Of the bases of a layer: exact ones if they are smooth, else those that MatGL rounds to single precision."""
    if config.radial == "smooth":
        pair, three = (SmoothBessel(count, config.cutoff) for count in (config.max_n, config.max_l * config.max_n))
        return _named(f"{name}.basis", pair) | _named(f"{name}.three_body.radial", three)
    basis = SphericalBessel(config.max_l, config.max_n, config.cutoff)
    roots = model["basis_expansion.sbf.roots_slice"].double()
    norms = model["basis_expansion.sbf.inv_norm"].double()
    basis.roots.copy_(roots)
    basis.amplitudes.copy_(torch.from_numpy(bessel_amplitudes(roots.numpy(), norms.numpy())))
    return _named(f"{name}.basis", basis) | _named(f"{name}.three_body.radial", basis)


def _named(name: str, module: torch.nn.Module) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor.clone() for key, tensor in module.state_dict().items()}
