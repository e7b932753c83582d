"""Potentials as MatGL keeps them: a folder with ``model.json`` and ``state.pt``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from halocline.canonical import parse_strict_json
from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.constants import MATGL_NORMS, MATGL_ROOTS
from halocline.zoo.foreign.model import (
    COUNT,
    FLAG,
    LENGTH,
    UNUSED,
    ForeignModel,
    Rule,
    check_blocks,
    check_tensors,
    only,
    read_hyperparameters,
    show,
)
from halocline.zoo.foreign.unpickle import read_torch_file

_LARGEST_JSON = 2**20  # bytes; real ones have some kilobytes

_SPECIES = Rule(
    "a list of different chemical symbols",
    lambda value: (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(symbol, str) and symbol.isalpha() and len(symbol) <= 2 for symbol in value)
        and len(set(value)) == len(value)
    ),
)

_POTENTIAL = {
    "model": Rule("a table", lambda value: isinstance(value, dict)),
    "calc_repuls": only(False, required=False),
    "calc_charge": only(False, required=False),
    **dict.fromkeys(("data_mean", "data_std", "element_refs"), UNUSED),  # rounded here; in full in state.pt
    **dict.fromkeys(("calc_forces", "calc_stresses", "calc_hessian", "calc_magmom"), UNUSED),
    **dict.fromkeys(("zbl_trainable", "debug_mode", "compile_model", "compile_mode"), UNUSED),
}

_M3GNET = {
    "element_types": _SPECIES,
    **dict.fromkeys(("max_n", "max_l", "nblocks", "units", "dim_node_embedding", "dim_edge_embedding"), COUNT),
    **dict.fromkeys(("cutoff", "threebody_cutoff"), LENGTH),
    "use_smooth": FLAG,
    "rbf_type": only("SphericalBessel"),
    "is_intensive": only(False),
    "include_state": only(False),
    "use_phi": only(False),
    "ntargets": only(1),
    "task_type": only("regression"),
    "activation_type": only("swish"),
    # Of states, of intensive properties, of training; without meaning for the rest of the table.
    **dict.fromkeys(("dim_state_embedding", "ntypes_state", "dim_state_feats"), UNUSED),
    **dict.fromkeys(("readout_type", "field", "niters_set2set", "nlayers_set2set"), UNUSED),
    **dict.fromkeys(("dropout", "num_rbf"), UNUSED),
}

Shape = tuple[int, ...]


def read_matgl(folder: Path) -> ForeignModel:
    """Read an M3GNet potential of MatGL. ``model.pt``, which repeats its arguments as a pickle, is not opened.

    Args:
        folder: holds ``model.json`` and ``state.pt``.

    Returns:
        Config and tensors under MatGL's names. A model that is not smooth has the constants of its basis as well,
        under the names of MatGL's buffers.

    Raises:
        CheckpointError: it is no such folder, is damaged or hostile, or holds a model that is not known here.
    """
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}.")
    document, state = folder / "model.json", folder / "state.pt"
    arguments = _read_json(document)
    config = read_hyperparameters(document, arguments.pop("init_args", None), _M3GNET)
    tensors = _read_state(state, config)
    if not config["use_smooth"]:
        tensors |= _basis_constants(document, config)
    files = {file.name: digest(file) for file in (document, state)}
    return ForeignModel(
        dialect="matgl",
        config=config,
        tensors=tensors,
        facts={"files": files, "model": "M3GNet", "model_version": arguments.get("@model_version")},
    )


def _read_json(path: Path) -> dict[str, Any]:
    """The table of the model within that of the potential."""
    if not path.is_file():
        raise CheckpointError(f"{path.parent} is not a model of MatGL: it has no {path.name}.")
    if path.stat().st_size > _LARGEST_JSON:
        raise CheckpointError(
            f"{path} is larger than the {_LARGEST_JSON} bytes that a model's description may have."
        )
    try:
        content = parse_strict_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict) or content.get("@class") != "Potential":
        raise CheckpointError(f"{path} does not describe a potential of MatGL.")
    read_hyperparameters(path, content.get("kwargs"), _POTENTIAL)
    model: dict[str, Any] = content["kwargs"]["model"]
    if model.get("@class") != "M3GNet":
        name = show(model.get("@class"))
        raise CheckpointError(f"{path} describes a model {name}; only M3GNet is known here.")
    return model


def _read_state(path: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    state = read_torch_file(path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} is not a state of a model: it must hold tensors by name.")
    state.pop("element_refs.onehot", None)  # a unit matrix in files of older releases
    check_blocks(path, state, config["nblocks"])
    check_tensors(path, state, matgl_layout(config))
    for name in ("model.bond_expansion.rbf.cutoff", "model.basis_expansion.sbf.cutoff"):
        if float(state[name]) != config["cutoff"]:
            raise CheckpointError(
                f"{name} in {path} is {float(state[name])} Å; model.json says {config['cutoff']} Å."
            )
    if float(state["data_mean"]) != 0.0:
        raise CheckpointError(f"data_mean in {path} is not zero, so that its energies are no sums over atoms.")
    return state


def _basis_constants(path: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    if (config["max_l"], config["max_n"], config["cutoff"]) != (3, 3, 5.0):
        raise CheckpointError(
            f"{path} has a basis that is not smooth with other sizes than max_l = max_n = 3 and 5 Å, "
            "whose constants are not known here."
        )
    return {
        "model.basis_expansion.sbf.roots_slice": torch.tensor(MATGL_ROOTS, dtype=torch.float32),
        "model.basis_expansion.sbf.inv_norm": torch.tensor(MATGL_NORMS, dtype=torch.float32),
    }


def matgl_layout(config: dict[str, Any]) -> dict[str, Shape]:
    """The tensors of a state: name → shape."""
    species, units = len(config["element_types"]), config["units"]
    atom, edge = config["dim_node_embedding"], config["dim_edge_embedding"]
    angular = config["max_n"] * config["max_l"]
    radial = config["max_n"] if config["use_smooth"] else angular
    scalars = ("data_mean", "data_std", "model.bond_expansion.rbf.cutoff", "model.basis_expansion.sbf.cutoff")
    layout: dict[str, Shape] = dict.fromkeys(scalars, ())
    layout["element_refs.property_offset"] = (species,)
    layout["model.embedding.layer_node_embedding.weight"] = (species, atom)
    layout |= _linear("model.embedding.layer_edge_embedding.layers.0", radial, edge)
    for block in range(config["nblocks"]):
        three_body = f"model.three_body_interactions.{block}"
        layout |= _linear(f"{three_body}.update_network_atom.layers.0", atom, angular)
        layout[f"{three_body}.update_network_bond.layers.0.weight"] = (edge, angular)
        layout[f"{three_body}.update_network_bond.gates.0.weight"] = (edge, angular)
        conv = f"model.graph_layers.{block}.conv"
        for end, width in (("edge", edge), ("node", atom)):
            layout |= _gated(f"{conv}.{end}_update_func", [2 * atom + edge, units, units, width])
            layout[f"{conv}.{end}_weight_func.weight"] = (width, radial)
    return layout | _gated("model.final_layer.gated", [atom, atom, units, units, 1])


def _gated(name: str, sizes: list[int]) -> dict[str, Shape]:
    """Two perceptrons; activations, which have no tensors, are every second layer."""
    layout: dict[str, Shape] = {}
    for part in ("layers", "gates"):
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            layout |= _linear(f"{name}.{part}.{2 * layer}", inputs, outputs)
    return layout


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
