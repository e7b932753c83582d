"""Steps of MatGL with a published potential, with the one change that the weights need.

Version 4.1.2 sums messages where edges start; the weights were trained with sums where they end.
"""

from __future__ import annotations

from typing import Any

import matgl
import torch
from matgl.ext.ase import PESCalculator
from matgl.layers._graph_convolution import M3GNetGraphConv, scatter_add
from serve import Made, serve
from torch import Tensor


def sum_at_ends(
    self: M3GNetGraphConv,
    edge_index: Tensor,
    edge_feat: Tensor,
    node_feat: Tensor,
    rbf: Tensor,
    u_per_edge: Tensor | None,
    num_nodes: int,
) -> Tensor:
    """Take the place of `M3GNetGraphConv.node_update_`: the same operations, with another index in the last."""
    assert u_per_edge is None  # of models with a global state
    starts, ends = edge_index
    inputs = torch.hstack([node_feat[starts], node_feat[ends], edge_feat])
    messages = self.node_update_func(inputs) * self.node_weight_func(rbf)
    return scatter_add(messages, ends, dim_size=num_nodes, dim=0)


def make(asked: dict[str, Any]) -> Made:
    """Load the folder of a potential."""
    torch.set_num_threads(asked["threads"])
    M3GNetGraphConv.node_update_ = sum_at_ends
    potential = matgl.load_model(asked["model"])
    potential.calc_stresses = True
    calculator = PESCalculator(potential.to(asked["device"]), stress_unit="eV/A3")
    # It searches neighbours at every step.
    return calculator, lambda: {"cutoff": float(calculator.cutoff), "skin": 0.0, "changed": sum_at_ends.__name__}


if __name__ == "__main__":
    serve(make, ["matgl", "torch", "torch-geometric", "pymatgen-core", "numpy", "ase"])
