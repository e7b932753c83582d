"""Make the answers of mace-torch with weights from a seed; see the README beside this file."""

from __future__ import annotations

import os
import sys

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # e3nn 0.4.4 keeps constants in a pickle

import numpy as np
import torch
from e3nn import o3
from mace import data, modules, tools
from mace.tools import torch_geometric
from oracles.m3gnet.report import say
from oracles.mace.models import (
    BESSELS,
    CHANNELS,
    CUTOFF,
    HEAD_ENERGIES,
    HEAD_SCALES,
    HEAD_SHIFTS,
    MODELS,
    NEIGHBOURS,
    NUMBERS,
    POWER,
    RADIAL,
    READOUT,
    arguments,
)
from oracles.mace.records import FOLDER, Answer, answer_name, weight, write_answers
from oracles.mace.structures import structures


def build(name):
    """A model in double precision, with its parameters from the seed."""
    chosen = arguments(name)
    blocks = modules.interaction_classes
    irreps = "+".join(f"{CHANNELS}x{degree}{'eo'[degree % 2]}" for degree in range(chosen["hidden"] + 1))
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=BESSELS,
        num_polynomial_cutoff=POWER,
        max_ell=chosen["max_ell"],
        interaction_cls=blocks[chosen["later"]],
        interaction_cls_first=blocks[chosen["first"]],
        num_interactions=chosen["layers"],
        num_elements=len(NUMBERS),
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps(f"{READOUT}x0e"),
        atomic_energies=np.array(HEAD_ENERGIES[: len(chosen["heads"])]),
        avg_num_neighbors=NEIGHBOURS,
        atomic_numbers=list(NUMBERS),
        correlation=chosen["correlation"],
        gate=torch.nn.functional.silu,
        pair_repulsion=chosen["pair_repulsion"],
        distance_transform=chosen["distance_transform"],
        radial_MLP=list(RADIAL),
        atomic_inter_scale=list(HEAD_SCALES[: len(chosen["heads"])]),
        atomic_inter_shift=list(HEAD_SHIFTS[: len(chosen["heads"])]),
        heads=list(chosen["heads"]),
    )
    for parameter, values in model.named_parameters():
        values.data.copy_(torch.from_numpy(weight(parameter, tuple(values.shape))))
    return model


def evaluate(model, atoms, numbers=NUMBERS, cutoff=CUTOFF, head=None):
    """One structure, by the first head if nothing else is said."""
    table, heads = tools.AtomicNumberTable(list(numbers)), getattr(model, "heads", ["Default"])
    configuration = data.config_from_atoms(atoms, head_name=head or heads[0])
    batch = torch_geometric.dataloader.DataLoader(
        [data.AtomicData.from_config(configuration, z_table=table, cutoff=cutoff, heads=heads)], batch_size=1
    )
    periodic = bool(atoms.pbc.all())
    result = model(next(iter(batch)).to_dict(), compute_stress=periodic)
    stress = result["stress"][0].detach().numpy() if periodic else np.full((3, 3), np.nan)
    energies, forces = (result[key].detach().numpy() for key in ("node_energy", "forces"))
    return Answer(float(result["energy"]), energies, forces, stress)


def main():
    """Answers of every model, the couplings that its file would hold, and e3nn's tables."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    FOLDER.mkdir(exist_ok=True)
    couplings = {}
    for name in sys.argv[1:] or MODELS:
        model = build(name)
        answers = {
            answer_name(key, head): evaluate(model, atoms, head=head)
            for key, atoms in structures().items()
            for head in model.heads
        }
        constants = {}
        for key, values in model.state_dict().items():
            if ".U_matrix_" in key:
                couplings[coupling_name(key, values)] = values.numpy()
            elif key.startswith(("radial_embedding", "pair_repulsion_fn")) and values.is_floating_point():
                constants[key] = values.numpy()
        write_answers(FOLDER / f"{name}.npz", answers, constants)
        say(f"{name}: largest force {max(np.abs(answer.forces).max() for answer in answers.values()):.2g} eV/Å")
    np.savez_compressed(FOLDER / "couplings.npz", **couplings)
    tables = {
        f"coupling_{a}{b}{c}": o3.wigner_3j(a, b, c).numpy()
        for a in range(4)
        for b in range(4)
        for c in range(4)
        if abs(a - b) <= c <= a + b
    }
    directions = np.array([[1.0, 2.0, -2.0], [-2.0, 3.0, 6.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    values = o3.spherical_harmonics(
        [0, 1, 2, 3], torch.tensor(directions), normalize=True, normalization="component"
    )
    np.savez_compressed(FOLDER / "e3nn-0.4.4.npz", directions=directions, harmonics=values.numpy(), **tables)


def coupling_name(key, values):
    """By degree of the result, of the features, and power; they are the same in every model."""
    power = int(key[-1])
    components = values.shape[-2]
    out = (values.numel() // values.shape[-1] // components**power - 1) // 2
    return f"{out}_{int(components**0.5) - 1}_{power}"


if __name__ == "__main__":
    main()
