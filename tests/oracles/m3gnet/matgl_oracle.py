"""MatGL 4.1.2 as an oracle, with the one change that the published M3GNet weights need."""

from __future__ import annotations

import copy
from pathlib import Path

import matgl
import numpy as np
import torch
from ase import Atoms
from matgl.ext.ase import Atoms2Graph
from matgl.layers._graph_convolution import M3GNetGraphConv
from matgl.utils.constants import EV_PER_ANG3_TO_GPA
from oracles.m3gnet.records import Answer

_SIZES = {"float32": 32, "float64": 64}


def sum_at_destination(self, edge_index, edge_feat, node_feat, rbf, u_per_edge, num_nodes):
    """Update of the atoms with messages summed where an edge ends, as when the weights were trained.

    Version 4.1.2 sums them where it starts.
    """
    assert u_per_edge is None, "models with a global state are not meant"
    ends = edge_index.long()
    messages = self.node_update_func(torch.cat([node_feat[ends[0]], node_feat[ends[1]], edge_feat], dim=1))
    update = torch.zeros((num_nodes, messages.shape[1]), dtype=messages.dtype)
    return update.index_add(0, ends[1], messages * self.node_weight_func(rbf))


class MatglOracle:
    """A published potential in both precisions."""

    def __init__(self, folder: Path, *, as_released: bool = False) -> None:
        assert matgl.__version__ == "4.1.2", f"this is matgl {matgl.__version__}, the change is for 4.1.2"
        if not as_released:
            M3GNetGraphConv.node_update_ = sum_at_destination
        matgl.set_default_dtype("float", 32)
        potential = matgl.load_model(folder).eval()
        potential.calc_stresses = True  # of the energy, whether or not it was trained with stresses
        assert float(potential.data_mean) == 0.0, "a mean belongs to structures, not to atoms"
        self.elements = set(potential.model.element_types)
        self.potentials = {"float32": potential, "float64": copy.deepcopy(potential).double()}

    def basis_constants(self) -> dict[str, np.ndarray]:
        """Constants of the basis that upstream holds in single precision, as they are; none if it is smooth."""
        basis = self.potentials["float32"].model.basis_expansion.sbf
        if basis.smooth:
            return {}
        return {"basis_roots": basis.roots_slice.numpy(), "basis_norms": basis.inv_norm.numpy()}

    def evaluate(self, atoms: Atoms, precision: str) -> Answer:
        """Energies, forces and stress of a structure."""
        matgl.set_default_dtype("float", _SIZES[precision])  # the converter rounds positions to the default
        potential = self.potentials[precision]
        graph, lattice, state = Atoms2Graph(potential.model.element_types, potential.model.cutoff).get_graph(atoms)
        sources = graph.edge_index[0]
        assert bool((sources[1:] >= sources[:-1]).all()), "triples are made wrongly unless edges are sorted"
        energy, forces, stress, _ = potential(graph, lattice, state)
        outputs = potential.model.feature_dict["readout"].view(-1)
        energies = potential.data_std * outputs + potential.element_refs.property_offset[graph.node_type]
        assert abs(float(energies.sum() - energy)) <= 1e-5 * float(energies.abs().sum())
        assert energy.dtype == forces.dtype == stress.dtype == getattr(torch, precision)
        stress = stress.detach().numpy() / EV_PER_ANG3_TO_GPA
        return Answer(
            float(energy.detach()),
            energies.detach().numpy(),
            forces.detach().numpy(),
            stress if atoms.pbc.all() else np.full((3, 3), np.nan),
        )
