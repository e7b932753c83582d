"""Names and shapes of the tensors of an M3GNet in MatGL."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Shape = tuple[int, ...]


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
