"""MatterSim 1.2.3 as an oracle, in both precisions."""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from ase import Atoms
from ase.units import GPa
from mattersim.datasets.utils.convertor import GraphConvertor
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
from mattersim.forcefield.potential import Potential, batch_to_dict
from oracles.m3gnet.records import Answer
from oracles.m3gnet.seeded_weights import seeded_weights
from torch_geometric.data import Batch

#: Buffers that are computed from the hyper-parameters, in single precision.
CONSTANTS = ("rbf.", "sbf.")


class MattersimOracle:
    """A model with weights from a seed."""

    def __init__(self, seed: int, **arguments: int | float) -> None:
        version = importlib.metadata.version("mattersim")
        assert version == "1.2.3", f"this is mattersim {version}"
        model = M3Gnet(device="cpu", **arguments)
        state = model.state_dict()
        shapes = {name: tuple(t.shape) for name, t in state.items() if not name.startswith(CONSTANTS)}
        weights = {name: torch.from_numpy(values) for name, values in seeded_weights(shapes, seed).items()}
        model.load_state_dict(weights, strict=False)
        self.constants = {name: t.numpy().copy() for name, t in state.items() if name.startswith(CONSTANTS)}
        self.arguments = model.model_args
        self.potentials = {
            "float32": Potential(model.eval(), device="cpu"),
            "float64": Potential(copy.deepcopy(model).double().eval(), device="cpu"),
        }

    def evaluate(self, atoms: Atoms, precision: str) -> Answer:
        """Energies, forces and stress of a structure."""
        potential = self.potentials[precision]
        energies = []
        hook = potential.model.normalizer.register_forward_hook(lambda *call: energies.append(call[-1]))
        with hook, _floats_are(precision):
            result = potential.forward(self._inputs(atoms, precision))
        assert result["forces"].dtype == energies[0].dtype == getattr(torch, precision)
        stress = GPa * result["stresses"].detach().numpy()[0]
        return Answer(
            float(result["total_energy"].detach()),
            energies[0].detach().numpy(),
            result["forces"].detach().numpy(),
            stress if atoms.pbc.all() else np.full((3, 3), np.nan),
        )

    def _inputs(self, atoms: Atoms, precision: str) -> dict:
        atoms = atoms.copy()
        converter = GraphConvertor("m3gnet", self.arguments["cutoff"], True, self.arguments["threebody_cutoff"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it says that free atoms get a large cell
            graph = converter.convert(atoms)  # wraps and boxes its argument
        assert np.linalg.det(atoms.cell) > 0, "stress would change its sign"
        assert bool((graph.edge_index[0][1:] >= graph.edge_index[0][:-1]).all()), "edges must be sorted"
        dtype = getattr(torch, precision)
        graph.atom_pos = torch.tensor(atoms.positions, dtype=dtype)
        graph.cell = torch.tensor(np.array(atoms.cell), dtype=dtype)[None]
        graph.pbc_offsets = graph.pbc_offsets.to(dtype)
        return batch_to_dict(Batch.from_data_list([graph]), device="cpu")


@contextlib.contextmanager
def _floats_are(precision: str) -> Iterator[None]:
    """Let ``tensor.float()`` mean the precision asked for: the model casts its input with it."""
    original = torch.Tensor.float
    torch.Tensor.float = {"float32": original, "float64": torch.Tensor.double}[precision]
    try:
        yield
    finally:
        torch.Tensor.float = original
