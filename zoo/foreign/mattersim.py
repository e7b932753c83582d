"""Models as MatterSim keeps them: one ``.pth`` file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.constants import mattersim_coefficients
from halocline.zoo.foreign.model import (
    COUNT,
    LENGTH,
    UNUSED,
    ForeignModel,
    check_blocks,
    check_tensors,
    only,
    read_hyperparameters,
    show,
)
from halocline.zoo.foreign.unpickle import read_torch_file

_M3GNET = {
    **dict.fromkeys(("num_blocks", "units", "max_z"), COUNT),
    "max_l": only(4)._replace(kept=True),
    "max_n": only(4)._replace(kept=True),
    "cutoff": LENGTH,
    "threebody_cutoff": LENGTH,
    "device": UNUSED,  # where it was trained
}

Shape = tuple[int, ...]

#: Of the keys of a dictionary, in a message.
_SHOWN = 4


def read_mattersim(path: Path) -> ForeignModel:
    """Read an M3GNet of MatterSim. The states of its training, which lie in the same file, are left behind.

    Args:
        path: the ``.pth`` file.

    Returns:
        Config and tensors under MatterSim's names, with the constants of its bases. The released files lack
        ``sbf.coef``, which is added.

    Raises:
        CheckpointError: it is no such file, is damaged or hostile, or holds a model that is not known here.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or not {"model_name", "model_args", "model"} <= set(content):
        raise CheckpointError(
            f"{path} is not a model of MatterSim, which has model_name, model_args and model, nor one of MACE, "
            f"which is a module, nor a state dictionary of PNNL's SchNet: it holds {_described(content)}."
        )
    if content["model_name"] != "m3gnet":
        name = show(content["model_name"])
        raise CheckpointError(f"{path} holds a model {name}; only 'm3gnet' is known here.")
    config = read_hyperparameters(path, content["model_args"], _M3GNET)
    tensors = content["model"]
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"The part 'model' of {path} must hold tensors by name.")
    tensors.setdefault("sbf.coef", mattersim_coefficients())
    check_blocks(path, tensors, config["num_blocks"])
    check_tensors(path, tensors, mattersim_layout(config))
    if float(tensors["rbf.r_max"]) != config["cutoff"]:
        raise CheckpointError(f"rbf.r_max in {path} is {float(tensors['rbf.r_max'])} Å, not {config['cutoff']} Å.")
    facts = {"files": {path.name: digest(path)}, "model": "M3GNet"}
    if isinstance(content.get("description"), str):
        facts["description"] = content["description"]
    return ForeignModel(dialect="mattersim", config=config, tensors=tensors, facts=facts)


def _described(content: Any) -> str:
    if not isinstance(content, dict) or not content:
        return show(content)
    more = ", …" if len(content) > _SHOWN else ""
    return f"a dictionary of {', '.join(map(show, list(content)[:_SHOWN]))}{more}"


def mattersim_layout(config: dict[str, Any]) -> dict[str, Shape]:
    """The tensors of a state: name → shape. Constants of the bases (``rbf``, ``sbf``) are among them."""
    units, radial, rows = config["units"], config["max_n"], config["max_z"] + 1
    angular = config["max_n"] * config["max_l"]
    layout: dict[str, Shape] = {"rbf.r_max": (), "rbf.dn": (radial,), "sbf.factor": (), "sbf.coef": (4, 9, 4)}
    for name in ("en", "fnr_weights", "n_1_pi_cutoff", "n_2_pi_cutoff"):
        layout[f"rbf.{name}"] = (1, radial)
    layout["edge_encoder.mlp.0.linear.weight"] = (units, radial)
    layout["atom_embedding.mlp.0.linear.weight"] = (units, rows)
    layout |= {"normalizer.scale": (rows,), "normalizer.shift": (rows,)}
    for block in range(config["num_blocks"]):
        name = f"graph_conv.{block}"
        for end in ("atom", "edge"):
            layout |= _gated(f"{name}.gated_mlp_{end}", [3 * units, units, units])
            layout[f"{name}.edge_layer_{end}.linear.weight"] = (units, radial)
        layout |= _linear(f"{name}.three_body.atom_mlp", units, angular)
        for part in ("g", "sigma"):
            layout[f"{name}.three_body.edge_gate_mlp.{part}.0.linear.weight"] = (units, angular)
    return layout | _gated("final", [units, units, units, 1])


def _gated(name: str, sizes: list[int]) -> dict[str, Shape]:
    layout: dict[str, Shape] = {}
    for part in ("g", "sigma"):
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            layout |= _linear(f"{name}.{part}.{layer}", inputs, outputs)
    return layout


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.linear.weight": (outputs, inputs), f"{name}.linear.bias": (outputs,)}
