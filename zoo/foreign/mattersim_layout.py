"""Names and shapes of the tensors of an M3GNet in MatterSim."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Shape = tuple[int, ...]


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
