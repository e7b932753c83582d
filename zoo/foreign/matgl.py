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

#: Of two parts of a model, either of which its state may have.
_CUTOFFS = {"model.bond_expansion.rbf.cutoff", "model.basis_expansion.sbf.cutoff"}

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

_TENSORNET = {
    "element_types": _SPECIES,
    **dict.fromkeys(("max_n", "nblocks", "units"), COUNT),
    "cutoff": LENGTH,
    "rbf_type": only("SphericalBessel"),
    "use_smooth": only(True),
    "equivariance_invariance_group": only("O(3)"),
    "is_intensive": only(False),
    "include_state": only(False),
    "ntargets": only(1),
    "task_type": only("regression"),
    "activation_type": only("swish"),
    # As above; and of bases that are not smooth, or Gaussians.
    **dict.fromkeys(("dim_state_embedding", "ntypes_state", "dim_state_feats"), UNUSED),
    **dict.fromkeys(("readout_type", "field", "niters_set2set", "nlayers_set2set"), UNUSED),
    **dict.fromkeys(("max_l", "num_rbf", "width", "dtype"), UNUSED),
}

#: Class of a model → its converter, and what is known of its hyper-parameters.
_MODELS = {"M3GNet": ("matgl", _M3GNET), "TensorNet": ("matgl-tensornet", _TENSORNET)}

#: Where the class of such a model must lie. Those of the other backend have sums that differ, and other weights.
_TENSORNET_MODULES = ("matgl.models._tensornet_pyg", "matgl.models._tensornet")

Shape = tuple[int, ...]


def read_matgl(folder: Path) -> ForeignModel:
    """Read an M3GNet or TensorNet of MatGL. ``model.pt``, which repeats its arguments as a pickle, is not opened.

    Args:
        folder: holds ``model.json`` and ``state.pt``.

    Returns:
        Config and tensors under MatGL's names. An M3GNet that is not smooth has the constants of its basis as
        well, under the names of MatGL's buffers.

    Raises:
        CheckpointError: it is no such folder, is damaged or hostile, or holds a model that is not known here.
    """
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}.")
    document, state = folder / "model.json", folder / "state.pt"
    arguments = _read_json(document)
    name = arguments["@class"]
    dialect, rules = _MODELS[name]
    config = read_hyperparameters(document, arguments.pop("init_args", None), rules)
    if name == "TensorNet":
        tensors = _read_state(state, config, tensornet_layout(config))
    else:
        tensors = _read_state(state, config, matgl_layout(config))
        if not config["use_smooth"]:
            tensors |= _basis_constants(document, config)
    files = {file.name: digest(file) for file in (document, state)}
    return ForeignModel(
        dialect=dialect,
        config=config,
        tensors=tensors,
        facts={"files": files, "model": name, "model_version": arguments.get("@model_version")},
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
    name, module = model.get("@class"), model.get("@module")
    if not isinstance(name, str) or name not in _MODELS:
        raise CheckpointError(
            f"{path} describes a model {show(name)}; only {' and '.join(_MODELS)} are known here."
        )
    if name == "TensorNet" and module not in _TENSORNET_MODULES:
        raise CheckpointError(
            f"{path} describes a TensorNet out of {show(module)}; only those of the backend PyG are known here."
        )
    return model


def _read_state(path: Path, config: dict[str, Any], layout: dict[str, Shape]) -> dict[str, Tensor]:
    state = read_torch_file(path)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} is not a state of a model: it must hold tensors by name.")
    state.pop("element_refs.onehot", None)  # a unit matrix in files of older releases
    check_blocks(path, state, config["nblocks"])
    check_tensors(path, state, layout)
    for name in _CUTOFFS & layout.keys():
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


def tensornet_layout(config: dict[str, Any]) -> dict[str, Shape]:
    """The tensors of the state of a TensorNet: name → shape."""
    species, units, radial = len(config["element_types"]), config["units"], config["max_n"]
    layout: dict[str, Shape] = dict.fromkeys(("data_mean", "data_std", "model.bond_expansion.rbf.cutoff"), ())
    layout["element_refs.property_offset"] = (species,)
    first = "model.tensor_embedding"
    for part in (1, 2, 3):
        layout |= _linear(f"{first}.distance_proj{part}", radial, units)
    layout[f"{first}.emb.weight"] = (species, units)
    layout |= _linear(f"{first}.emb2", 2 * units, units) | _norm(f"{first}.init_norm", units)
    layout |= dict.fromkeys((f"{first}.linears_tensor.{part}.weight" for part in range(3)), (units, units))
    layout |= _chain(f"{first}.linears_scalar", [units, 2 * units, 3 * units])
    for block in range(config["nblocks"]):
        name = f"model.layers.{block}"
        layout |= _chain(f"{name}.linears_scalar", [radial, units, 2 * units, 3 * units])
        layout |= dict.fromkeys((f"{name}.linears_tensor.{part}.weight" for part in range(6)), (units, units))
    layout |= _norm("model.out_norm", 3 * units) | _linear("model.linear", 3 * units, units)
    return layout | _gated("model.final_layer.gated", [units, units, units, units, 1])


def matgl_layout(config: dict[str, Any]) -> dict[str, Shape]:
    """The tensors of the state of an M3GNet: name → shape."""
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


def _chain(name: str, sizes: list[int]) -> dict[str, Shape]:
    layout: dict[str, Shape] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        layout |= _linear(f"{name}.{layer}", inputs, outputs)
    return layout


def _norm(name: str, channels: int) -> dict[str, Shape]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
