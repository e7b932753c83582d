"""Small models written by SevenNet, and what it says of a few structures; README.md says how to run this."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sevenn._const as const
import sevenn._keys as key
import torch
from ase.neighborlist import primitive_neighbor_list
from sevenn.checkpoint import SevenNetCheckpoint
from sevenn.model_build import build_E3_equivariant_model

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from oracles.sevennet.models import MODELS, structures  # noqa: E402


def write(name, path):
    """A model with weights from a seed, as a checkpoint of training."""
    torch.manual_seed(1)
    config = {**const.DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG, **MODELS[name]}
    built = {"_normalize_sph": True, **config, "version": "0.13.0"}
    state = build_E3_equivariant_model(built).state_dict()
    config["device"] = torch.device("cpu")
    config["shift"] = np.asarray(config["shift"]) if isinstance(config["shift"], list) else config["shift"]
    torch.save({"model_state_dict": state, "config": config, "epoch": 1}, path)


def evaluate(model, atoms, head):
    """Energies of atoms, forces and stress in float64."""
    i, j, vectors, shifts = primitive_neighbor_list("ijDS", atoms.pbc, atoms.cell, atoms.positions, model.cutoff)
    edges = torch.tensor(vectors).requires_grad_(True)
    data = {
        key.NODE_FEATURE: torch.tensor([model.type_map[z] for z in atoms.numbers]),
        key.EDGE_IDX: torch.tensor(np.array([i, j])),
        key.EDGE_VEC: edges,
        key.CELL_SHIFT: torch.tensor(shifts),
    }
    if head is not None:
        data[key.MODAL_TYPE] = torch.tensor([model.modal_map[head]])
    for name, module in model._modules.items():
        if name == "force_output":
            break
        data = module(data)
        for field, value in data.items():  # one-hot vectors are made in single precision
            data[field] = value.double() if value.dtype == torch.float32 else value
    energies = data[key.ATOMIC_ENERGY].squeeze(1)
    (gradient,) = torch.autograd.grad(energies.sum(), edges)
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, gradient.numpy())
    np.add.at(forces, j, -gradient.numpy())
    virial = vectors.T @ gradient.numpy()
    return {
        "energies": energies.tolist(),
        "forces": forces.tolist(),
        "stress": (0.5 * (virial + virial.T) / atoms.get_volume()).tolist(),
    }


def main():
    """Write files and answers."""
    answers = {}
    for name in MODELS:
        path = HERE / "files" / f"{name}.pth"
        path.parent.mkdir(exist_ok=True)
        write(name, path)
        model = SevenNetCheckpoint(str(path)).build_model().double().eval()
        model.set_is_batch_data(False)
        for head in getattr(model, "modal_map", None) or [None]:
            for case, atoms in structures().items():
                answers[f"{name} {head} {case}"] = evaluate(model, atoms, head)
    (HERE / "answers.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
