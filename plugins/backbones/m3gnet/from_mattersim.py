"""M3GNet models of MatterSim (H. Yang et al., arXiv:2405.04967; https://github.com/microsoft/mattersim).

All constants of its bases are kept in single precision, so they are taken from the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.model.config import to_json
from halocline.plugins.backbones.m3gnet.config import M3GNetConfig
from halocline.plugins.backbones.m3gnet.radial import smooth_mixing
from halocline.plugins.backbones.m3gnet.renaming import by_number, checkpoint, edge_mlp, gated_mlp

#: Rows of MatterSim's table of coefficients that hold the root and the amplitudes of each degree, with the signs
#: that its formulas give them; the k-th amplitude belongs to 1/x^(k+1).
_ROOT_ROWS = (0, 1, 1, 1)
_AMPLITUDE_ROWS = (
    (),
    ((0, 1.0), (2, 1.0)),
    ((0, 1.0), (2, -1.0), (4, 1.0)),
    ((0, 1.0), (2, -1.0), (4, -1.0), (6, 1.0)),
)


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a model of MatterSim into one of ours.

    Args:
        config: hyper-parameters of its model.
        tensors: of its state, constants (``rbf.``, ``sbf.``) included.

    Raises:
        BackboneError: the hyper-parameters are none of an M3GNet.
    """
    ours = M3GNetConfig(
        species=tuple(chemical_symbols[1 : config["max_z"] + 1]),
        dialect="mattersim",
        sums="centre",
        radial="smooth",
        features=config["units"],
        units=config["units"],
        layers=config["num_blocks"],
        max_l=config["max_l"],
        max_n=config["max_n"],
        cutoff=config["cutoff"],
        threebody_cutoff=config["threebody_cutoff"],
    )
    renamed = _ends(tensors, ours.species)
    for layer in range(ours.layers):
        renamed |= _layer(layer, tensors) | _constants(f"layers.{layer}", tensors)
    energies = tensors["normalizer.shift"][1:].double().tolist()
    return checkpoint(to_json(ours), renamed, dict(zip(ours.species, energies, strict=True)))


def _ends(model: Mapping[str, Tensor], species: tuple[str, ...]) -> dict[str, Tensor]:
    """Embeddings and readout."""
    return {
        "embed.table.weight": by_number(species, model["atom_embedding.mlp.0.linear.weight"].T[1:]),
        "embed.scale": by_number(species, model["normalizer.scale"][1:]),
        "layers.0.encoder.weight": model["edge_encoder.mlp.0.linear.weight"],
    } | gated_mlp("readout.final", _linears(model, "final.g", 3), _linears(model, "final.sigma", 3))


def _layer(layer: int, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    theirs, ours = f"graph_conv.{layer}", f"layers.{layer}"
    gate = f"{theirs}.three_body.edge_gate_mlp"
    renamed = {
        f"{ours}.three_body.gate.weight": model[f"{theirs}.three_body.atom_mlp.linear.weight"],
        f"{ours}.three_body.gate.bias": model[f"{theirs}.three_body.atom_mlp.linear.bias"],
    } | gated_mlp(
        f"{ours}.three_body.update",
        [(model[f"{gate}.g.0.linear.weight"],)],
        [(model[f"{gate}.sigma.0.linear.weight"],)],
    )
    for end in ("edge", "atom"):
        update = f"{theirs}.gated_mlp_{end}"
        renamed[f"{ours}.{end}_weight.weight"] = model[f"{theirs}.edge_layer_{end}.linear.weight"]
        renamed |= edge_mlp(
            f"{ours}.{end}_update", _linears(model, f"{update}.g", 2), _linears(model, f"{update}.sigma", 2)
        )
    return renamed


def _linears(model: Mapping[str, Tensor], name: str, count: int) -> list[tuple[Tensor, Tensor]]:
    """Weights and offsets of a perceptron."""
    return [(model[f"{name}.{i}.linear.weight"], model[f"{name}.{i}.linear.bias"]) for i in range(count)]


def _constants(name: str, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the bases of a layer."""
    first, second = model["rbf.n_1_pi_cutoff"][0].double(), model["rbf.n_2_pi_cutoff"][0].double()
    heights, e, d = (model[f"rbf.{key}"].double().flatten().numpy() for key in ("fnr_weights", "en", "dn"))
    table, factor = model["sbf.coef"].double(), model["sbf.factor"].double()
    roots = torch.stack([table[degree, row] for degree, row in enumerate(_ROOT_ROWS)])
    amplitudes = table.new_zeros((len(table), len(table), table.shape[-1]))
    amplitudes[0, 0] = 1.0  # the norm of j_0 and the root in front of it cancel
    for degree, rows in enumerate(_AMPLITUDE_ROWS):
        for power, (row, sign) in enumerate(rows):
            amplitudes[degree, power] = sign * table[degree, row]
    return {
        f"{name}.basis.waves": torch.cat([first, second[-1:]]),
        f"{name}.basis.mixing": torch.from_numpy(smooth_mixing(heights, e, d)),
        f"{name}.three_body.radial.roots": roots,
        f"{name}.three_body.radial.amplitudes": amplitudes * factor,
    }
