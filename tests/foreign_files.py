"""Files in the formats of other packages, small and made here."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.m3gnet.records import FOLDER
from torch import nn

from halocline.errors import CheckpointError
from halocline.zoo.foreign.constants import mattersim_coefficients
from halocline.zoo.foreign.matgl import matgl_layout
from halocline.zoo.foreign.mattersim import mattersim_layout

MATGL_ARGUMENTS = {
    "element_types": ["H", "O"],
    "dim_state_embedding": 0,
    "ntypes_state": None,
    "max_n": 3,
    "max_l": 3,
    "nblocks": 1,
    "rbf_type": "SphericalBessel",
    "is_intensive": False,
    "readout_type": "weighted_atom",
    "task_type": "regression",
    "cutoff": 5.0,
    "threebody_cutoff": 4.0,
    "ntargets": 1,
    "use_smooth": True,
    "use_phi": False,
    "activation_type": "swish",
    "dim_edge_embedding": 4,
    "dim_node_embedding": 4,
    "include_state": False,
    "units": 5,
}
MATTERSIM_ARGUMENTS = {
    "num_blocks": 1,
    "units": 3,
    "max_l": 4,
    "max_n": 4,
    "cutoff": 5.0,
    "max_z": 94,
    "threebody_cutoff": 4.0,
}


def seeded(layout):
    """Tensors of a layout, the same ones each time."""
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) for name, shape in layout.items()}


def matgl_tensors(arguments=MATGL_ARGUMENTS):
    tensors = seeded(matgl_layout(arguments))
    cutoff = torch.tensor(arguments["cutoff"])
    tensors |= dict.fromkeys(("model.bond_expansion.rbf.cutoff", "model.basis_expansion.sbf.cutoff"), cutoff)
    return tensors | {"data_mean": torch.tensor(0.0), "element_refs.onehot": torch.eye(2)}


def mattersim_tensors(arguments=MATTERSIM_ARGUMENTS):
    tensors = seeded(mattersim_layout(arguments))
    return tensors | {"rbf.r_max": torch.tensor(5.0), "sbf.coef": mattersim_coefficients()}


def mattersim_constants():
    """Constants of its bases as the package itself makes them; those of a seed are none of any basis."""
    with np.load(FOLDER / "mattersim-small.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file if name.startswith(("rbf.", "sbf."))}


def write_matgl(folder: Path, arguments=MATGL_ARGUMENTS, tensors=None, potential=None, model="M3GNet") -> Path:
    """Write the folder of a MatGL potential."""
    folder.mkdir(exist_ok=True)
    kwargs = {"model": {"@class": model, "@model_version": 2, "init_args": arguments}, "data_mean": "tensor(0.)"}
    document = {"@class": "Potential", "kwargs": kwargs | (potential or {})}
    (folder / "model.json").write_text(json.dumps(document), encoding="utf-8")
    torch.save(matgl_tensors(arguments) if tensors is None else tensors, folder / "state.pt")
    return folder


def write_mattersim(path: Path, arguments=MATTERSIM_ARGUMENTS, tensors=None, **parts) -> Path:
    """Write a file of MatterSim, with the states of a training in it."""
    weight = torch.nn.Parameter(torch.ones(3))
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}
    content = {
        "model_name": "m3gnet",
        "model": mattersim_tensors() if tensors is None else tensors,
        "model_args": arguments,
        "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}]},
        "ema": {"decay": 0.99, "shadow_params": [weight]},
        "validation_metrics": {"loss": 1e7},
        "description": "a test",
    }
    torch.save(content | parts, path)
    return path


class _Filtered(nn.Module):
    """A convolution that has the network of its interaction as its own."""

    def __init__(self, features, network):
        super().__init__()
        self.lin1 = nn.Linear(features, features, bias=False)
        self.lin2 = nn.Linear(features, features)
        self.nn = network


class _Interaction(nn.Module):
    def __init__(self, features, gaussians):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(gaussians, features), nn.Softplus(), nn.Linear(features, features))
        self.conv = _Filtered(features, self.mlp)
        self.lin = nn.Linear(features, features)


class _Basis(nn.Module):
    def __init__(self, cutoff, gaussians):
        super().__init__()
        self.register_buffer("offset", torch.linspace(0.0, cutoff, gaussians))


class PnnlModules(nn.Module):
    """The modules of the SchNet of the water-cluster work, whose state dictionaries have its layout; they compute
    nothing."""

    def __init__(self, features=8, gaussians=6, interactions=2, cutoff=6.0):
        super().__init__()
        torch.manual_seed(1)
        self.atom_embedding = nn.Embedding(100, features, padding_idx=0)
        self.basis_expansion = _Basis(cutoff, gaussians)
        self.interactions = nn.ModuleList(_Interaction(features, gaussians) for _ in range(interactions))
        self.lin1 = nn.Linear(features, features // 2)
        self.lin2 = nn.Linear(features // 2, 1)


def write_pnnl(path: Path, state=None) -> Path:
    """Write a state dictionary of the water-cluster work."""
    torch.save(PnnlModules().state_dict() if state is None else state, path)
    return path


def write_archive(path: Path, pickle: bytes, storages=(), compression=zipfile.ZIP_STORED) -> Path:
    """Write a file of torch.save with any pickle in it."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("m/data.pkl", pickle)
        for key, data in dict(storages).items():
            file.writestr(f"m/data/{key}", data)
    return path


def refusal(read, path) -> str:
    """The message with which a file is refused: one line that names it."""
    with pytest.raises(CheckpointError) as error:
        read(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert message.endswith(".")
    assert not message.endswith("..")
    assert len(message) < 400 + 3 * len(str(path))
    return message
