"""Models of orb-models (Orbital Materials; https://github.com/orbital-materials/orb-models), versions 2 and 3.

What only training needs, the decoder of pre-training and the confidence that version 3 tells are left behind.
Files do not say which elements a model was fitted to, and reference energies are there for all of them. Materials
(OMat24, MPtrj, Alexandria) have 89 elements, molecules (OMol25) the first 83.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.model.config import to_json
from halocline.plugins.backbones.orb.config import ORBConfig

#: Atomic numbers of plutonium and of bismuth, the last elements of materials and of molecules.
_LAST_OF_MATERIALS, _LAST_OF_MOLECULES = 94, 83

#: Elements before plutonium that occur in none of the materials.
_NOT_FITTED = ("Po", "At", "Rn", "Fr", "Ra")


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a model of orb-models into one of ours. Its linear reference becomes the reference energies.

    Args:
        config: sizes and choices, as the reader of its files gives them.
        tensors: of its state.

    Raises:
        BackboneError: the sizes are none of an ORB.
    """
    model = {name: tensor.double() for name, tensor in tensors.items()}
    energies = model["heads.energy.reference.linear.weight"].tolist()
    last = _LAST_OF_MOLECULES if config["charged"] else _LAST_OF_MATERIALS
    species = tuple(symbol for symbol in chemical_symbols[1 : last + 1] if symbol not in _NOT_FITTED)
    ours = ORBConfig(
        species=species,
        version=config["version"],
        forces="direct" if config["direct"] else "conservative",
        stress=config["direct"] and config["stress"],
        repulsion=config["version"] == 3,
        charged=config["charged"],
        features=config["features"],
        hidden=config["hidden"],
        head_hidden=config["head_hidden"],
        layers=config["layers"],
        neighbours=config["neighbours"],
    )
    renamed = dict(_ends(ours, model))
    for layer in range(ours.layers):
        renamed |= _layer(f"layers.{layer}", f"model.gnn_stacks.{layer}", ours, model)
    return Checkpoint(
        backbone="orb",
        config=to_json(ours),
        tensors={name: tensor.contiguous() for name, tensor in renamed.items()},
        reference_energies={symbol: energies[chemical_symbols.index(symbol)] for symbol in species},
    )


def _ends(ours: ORBConfig, model: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Embedding, first features of edges, and heads."""
    yield "embed.table.weight", model["model.atom_emb.embeddings.weight"]
    yield from _update("embed.update", "model._encoder._node_fn", model)
    yield from _update("layers.0.encoder", "model._encoder._edge_fn", model)
    if ours.charged:
        for name in ("charge", "spin"):
            yield f"embed.{name}_waves", model[f"model.conditioner.{name}_embedding.W"]
    if "model.rbf_transform.bessel_weights" in model:
        yield "layers.0.functions.frequencies", model["model.rbf_transform.bessel_weights"]
        yield "layers.0.functions.factor", model["model.rbf_transform.prefactor"]
    yield from _perceptron("mean.energy", "heads.energy.mlp", model)
    scale, shift = _units("heads.energy.normalizer", model)
    yield from {"mean.scale": scale, "mean.shift": shift}.items()
    if not ours.is_conservative:
        yield from _perceptron("readout.force", "heads.forces.mlp", model)
        scale, shift = _units("heads.forces.normalizer", model)
        yield from {"readout.force_scale": scale, "mean.force_shift": shift}.items()
    if ours.stress:
        yield from _perceptron("mean.stress_of", "heads.stress.mlp", model)
        kinds = ("normalizer", "normalizer") if ours.version == 2 else ("diag_normalizer", "offdiag_normalizer")
        units = [_units(f"heads.stress.{kind}", model) for kind in kinds]
        yield "mean.stress_scale", torch.stack([scale for scale, _ in units]).repeat_interleave(3)
        yield "mean.stress_shift", torch.stack([shift for _, shift in units]).repeat_interleave(3)


def _layer(name: str, theirs: str, ours: ORBConfig, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = dict(_update(f"{name}.edge_update", f"{theirs}._edge_mlp", model))
    renamed |= _update(f"{name}.atom_update", f"{theirs}._node_mlp", model)
    renamed |= _both(f"{name}.receive", f"{theirs}._receive_attn", model)
    renamed |= _both(f"{name}.send", f"{theirs}._send_attn", model)
    if ours.charged:
        renamed |= _both(f"{name}.told", f"{theirs}._cond_node_proj", model)
    return renamed


def _update(name: str, theirs: str, model: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A perceptron and its normalisation, which has an offset in version 2."""
    yield from _perceptron(f"{name}.perceptron", f"{theirs}.mlp", model)
    for kind in ("weight", "bias"):
        if f"{theirs}.layer_norm.{kind}" in model:
            yield f"{name}.norm.{kind}", model[f"{theirs}.layer_norm.{kind}"]


def _perceptron(name: str, theirs: str, model: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    layer = 0
    while f"{theirs}.NN-{layer}.weight" in model:
        yield from _both(f"{name}.layers.{layer}", f"{theirs}.NN-{layer}", model).items()
        layer += 1


def _both(name: str, theirs: str, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{kind}": model[f"{theirs}.{kind}"] for kind in ("weight", "bias")}


def _units(theirs: str, model: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Scale and shift, (), of a quantity that was fitted in units of its spread."""
    variance, mean = model[f"{theirs}.bn.running_var"], model[f"{theirs}.bn.running_mean"]
    return variance.sqrt().squeeze(), mean.squeeze()
