"""What CHGNet says of its published models; in its environment."""

from __future__ import annotations

from collections.abc import Callable

import chgnet
import numpy as np
import torch
from ase import Atoms
from ase.units import GPa
from chgnet.graph import converter, crystalgraph
from chgnet.model import composition_model, model
from pymatgen.io.ase import AseAtomsAdaptor

MODELS = ("chgnet-0.3.0", "chgnet-0.2.0", "chgnet-r2scan")

#: Its composition model counts in float32 whatever else is set.
_ELEMENTS = 94


def answers(name: str) -> dict[str, Callable[[Atoms], dict]]:
    """Model → function of a structure, in float64."""
    _in_float64()
    found = model.CHGNet.load(model_name=name.removeprefix("chgnet-"), use_device="cpu", verbose=False)
    found = found.to(torch.float64).eval()
    found.graph_converter.set_isolated_atom_response("ignore")
    return {name: lambda atoms: _evaluate(found, atoms)}


def _in_float64() -> None:
    torch.set_default_dtype(torch.float64)
    for module in (chgnet, converter, crystalgraph, model):
        if hasattr(module, "TORCH_DTYPE"):
            module.TORCH_DTYPE = torch.float64
    composition_model.AtomRef._assemble_graphs = lambda self, graphs: torch.stack([_shares(g) for g in graphs])


def _shares(graph) -> torch.Tensor:
    """Of each element in a structure, (94,)."""
    return torch.bincount(graph.atomic_number - 1, minlength=_ELEMENTS).double() / len(graph.atomic_number)


def _evaluate(found, atoms: Atoms) -> dict:
    """Its energy is per atom and its stress in GPa, which it does not make symmetric."""
    said = found.predict_structure(AseAtomsAdaptor.get_structure(atoms), task="efsm")
    stress = np.asarray(said["s"]) * GPa
    return {
        "energies": [float(said["e"]) * len(atoms)],
        "forces": said["f"],
        "stress": (stress + stress.T) / 2,
        "moments": np.asarray(said["m"]).reshape(-1),
    }
