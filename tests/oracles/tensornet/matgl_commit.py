"""TensorNet as MatGL has it at the commit that its published weights lie beside; README.md names it."""

from __future__ import annotations

import sys
import types

import numpy as np
import torch
from ase.neighborlist import primitive_neighbor_list

# Training, which the package imports with itself, needs packages of its own.
_training = types.ModuleType("matgl.utils.training")
_training.MGLDatasetLoader = _training.MGLPotentialTrainer = None
sys.modules[_training.__name__] = _training

from matgl.apps.pes import Potential  # noqa: E402
from matgl.models._tensornet_pyg import TensorNet  # noqa: E402
from torch_geometric.data import Data  # noqa: E402

# Constants of the basis are rounded to what this is when a model is made.
torch.set_default_dtype(torch.float64)

__all__ = ["Potential", "TensorNet", "evaluate"]


def evaluate(potential, atoms):
    """Energy, forces and stress by a potential that was cast to float64, with neighbours by ASE."""
    model, references = potential.model, potential.element_refs.property_offset.double()
    i, j, shifts = primitive_neighbor_list("ijS", atoms.pbc, atoms.cell, atoms.positions, model.cutoff)
    places = torch.tensor([list(model.element_types).index(symbol) for symbol in atoms.symbols])
    positions = torch.tensor(atoms.positions, requires_grad=True)
    strain = torch.zeros(3, 3, requires_grad=True)
    symmetric = torch.eye(3) + 0.5 * (strain + strain.T)
    graph = Data(edge_index=torch.tensor(np.stack([i, j])), node_type=places, num_nodes=len(atoms))
    graph.pos = positions @ symmetric
    graph.pbc_offshift = torch.tensor(shifts).double() @ torch.tensor(atoms.cell.array) @ symmetric
    energy = potential.data_std * model(graph) + references[places].sum()
    gradient, virial = torch.autograd.grad(energy, (positions, strain), materialize_grads=True)
    return {
        "energies": [float(energy.detach())],
        "forces": (-gradient).tolist(),
        "stress": (virial / atoms.get_volume()).tolist(),
    }
