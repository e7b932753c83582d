"""Models of CHGNet (G. Ceder's group; https://github.com/CederGroupHub/chgnet).

Angles are last needed by the last update of bonds, so the last update of angles, which upstream has, has no effect
on anything and is left behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.model.config import to_json
from halocline.plugins.backbones.chgnet.config import ROWS, CHGNetConfig

#: Elements that occur in none of the data that published models were fitted to. Their embeddings are random.
_NOT_FITTED = ("Po", "At", "Rn", "Fr", "Ra")

#: eV. The composition model is a least-squares fit; an element without data has nothing but rounding there.
_NO_ENERGY = 1e-6


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a model of CHGNet into one of ours. Its composition model becomes the reference energies.

    Args:
        config: its ``model_args``, and ``mlp_out_bias``, which upstream tells from the name of the model.
        tensors: of its state.

    Raises:
        BackboneError: the arguments are none of a CHGNet.
    """
    energies = dict(
        zip(chemical_symbols[1:ROWS], tensors["composition_model.fc.weight"][0].double().tolist(), strict=True)
    )
    species = tuple(s for s, e in energies.items() if s not in _NOT_FITTED and abs(e) > _NO_ENERGY)
    ours = CHGNetConfig(
        species=species,
        features=config["atom_fea_dim"],
        layers=config["n_conv"],
        readout_layers=len(config["mlp_hidden_dims"]),
        radial=config["num_radial"],
        angular=config["num_angular"],
        envelope=config["cutoff_coeff"],
        norm=config["gMLP_norm"] == "layer",
        offsets=config["mlp_out_bias"],
        cutoff=float(config["atom_graph_cutoff"]),
        bond_cutoff=float(config["bond_graph_cutoff"]),
    )
    renamed = dict(_ends(ours, tensors))
    for layer in range(ours.layers):
        renamed |= _layer(layer, ours, tensors)
    return Checkpoint(
        backbone="chgnet",
        config=to_json(ours),
        tensors={name: tensor.double().contiguous() for name, tensor in renamed.items()},
        reference_energies={symbol: energies[symbol] for symbol in species},
    )


def _ends(ours: CHGNetConfig, model: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Embedding, first features of edges and angles, and readout."""
    atoms = model["atom_embedding.embedding.weight"]
    yield "embed.table.weight", torch.cat([torch.zeros_like(atoms[:1]), atoms])
    basis = "bond_basis_expansion.rbf_expansion"
    yield "layers.0.basis.frequencies", model[f"{basis}_ag.frequencies"]
    yield "layers.0.start.weight", model["bond_embedding.weight"]
    yield "layers.0.weight.weight", model["bond_weights_ag.weight"]
    if ours.layers > 1:
        yield "layers.0.bond_basis.frequencies", model[f"{basis}_bg.frequencies"]
        yield "layers.0.bond_weight.weight", model["bond_weights_bg.weight"]
        yield "layers.0.angle_basis.frequencies", model["angle_basis_expansion.fourier_expansion.frequencies"]
        yield "layers.0.angle_start.weight", model["angle_embedding.weight"]
    if ours.norm:
        yield from _both("readout.norm", "readout_norm", model)
    for hidden in range(ours.readout_layers):
        yield from _both(f"readout.hidden.{hidden}", f"mlp.layers.{2 * hidden}", model)
    yield from _both("readout.energy", f"mlp.layers.{2 * ours.readout_layers + 1}", model)
    yield from _both("readout.moment", "site_wise", model)


def _layer(layer: int, ours: CHGNetConfig, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    name, theirs = f"layers.{layer}", f"atom_conv_layers.{layer}"
    renamed = dict(
        _joint(f"{name}.atom_update", f"{theirs}.twoBody_atom", ("centre", "edge", "end"), "edge", model)
    )
    renamed |= _both(f"{name}.atom_out", f"{theirs}.mlp_out.layers.1", model)
    if layer == ours.layers - 1:
        return renamed
    theirs, parts = f"bond_conv_layers.{layer}", ("written", "read", "angle", "centre")
    renamed |= _joint(f"{name}.bond_update", f"{theirs}.twoBody_bond", parts, "written", model)
    renamed |= _both(f"{name}.bond_out", f"{theirs}.mlp_out.layers.1", model)
    if layer > 0:
        theirs = f"angle_layers.{layer - 1}.twoBody_bond"
        renamed |= _joint(f"{name}.angle_update", theirs, parts, "written", model)
    return renamed


def _joint(
    name: str, theirs: str, parts: tuple[str, ...], offset: str, model: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """A gated perceptron, whose first layer has one weight for each part of what it joins; one has the offset."""
    first = 0 if f"{theirs}.mlp_core.layers.0.weight" in model else 1
    sides = [f"{theirs}.mlp_{side}.layers" for side in ("core", "gate")]
    weight = torch.cat([model[f"{side}.{first}.weight"] for side in sides])
    for part, columns in zip(parts, weight.chunk(len(parts), dim=1), strict=True):
        yield f"{name}.{part}.weight", columns
    yield f"{name}.{offset}.bias", torch.cat([model[f"{side}.{first}.bias"] for side in sides])
    for number, (side, kind) in enumerate(zip(sides, ("value", "gate"), strict=True), start=1):
        if first == 0:
            yield from _both(f"{name}.gate.{kind}s", f"{side}.3", model)
        if f"{theirs}.bn{number}.weight" in model:
            yield from _both(f"{name}.gate.{kind}_norm", f"{theirs}.bn{number}", model)


def _both(name: str, theirs: str, model: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A weight, and an offset where there is one."""
    for kind in ("weight", "bias"):
        if f"{theirs}.{kind}" in model:
            yield f"{name}.{kind}", model[f"{theirs}.{kind}"]
