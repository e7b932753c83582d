"""Write files of models like the published ones with a version of mace-torch, and its answers; see the README."""

from __future__ import annotations

import inspect
import lzma
import os
from importlib.metadata import version

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # e3nn 0.4.4 keeps constants in a pickle

import mace
import numpy as np
import torch
from e3nn import o3
from mace import data, modules, tools
from mace.tools import torch_geometric
from oracles.m3gnet.report import say
from oracles.mace.models import HEAD_ENERGIES, HEAD_SCALES, HEAD_SHIFTS, NEIGHBOURS, NUMBERS
from oracles.mace.published import PUBLISHED
from oracles.mace.records import FILES, Answer, answer_name, weight, write_answers
from oracles.mace.structures import structures

CHANNELS, RADIAL, READOUT, POWER = 2, (4, 4), 2, 5

#: Weights are multiples of it, so that files compress.
_STEP = 2.0**-6


def build(name):
    """A model in double precision, with the arguments that this version knows."""
    chosen = PUBLISHED[name][1]
    blocks, heads = modules.interaction_classes, len(chosen.get("heads", ["Default"]))
    irreps = "+".join(f"{CHANNELS}x{degree}{'eo'[degree % 2]}" for degree in range(chosen["hidden"] + 1))
    given = {
        "r_max": chosen["cutoff"],
        "num_bessel": chosen["bessels"],
        "num_polynomial_cutoff": POWER,
        "max_ell": 3,
        "interaction_cls": blocks[chosen["later"]],
        "interaction_cls_first": blocks[chosen["first"]],
        "num_interactions": 2,
        "num_elements": len(NUMBERS),
        "hidden_irreps": o3.Irreps(irreps),
        "MLP_irreps": o3.Irreps(f"{READOUT}x0e"),
        "avg_num_neighbors": NEIGHBOURS,
        "atomic_numbers": list(NUMBERS),
        "correlation": 3,
        "gate": torch.nn.functional.silu,
        "radial_MLP": list(RADIAL),
    }
    given |= {key: chosen[key] for key in ("pair_repulsion", "distance_transform") if key in chosen}
    known = set(inspect.signature(modules.MACE.__init__).parameters)
    if "heads" in known:
        given["heads"] = list(chosen.get("heads", ["Default"]))
    else:
        assert heads == 1, "this version knows no heads"
    energies, scales, shifts = (np.array(each[:heads]) for each in (HEAD_ENERGIES, HEAD_SCALES, HEAD_SHIFTS))
    several = heads > 1
    model = modules.ScaleShiftMACE(
        **given,
        atomic_energies=energies if several else energies[0],
        atomic_inter_scale=scales.tolist() if several else float(scales[0]),
        atomic_inter_shift=shifts.tolist() if several else float(shifts[0]),
    )
    for parameter, values in model.named_parameters():
        rounded = np.round(weight(parameter, tuple(values.shape)) / _STEP) * _STEP
        values.data.copy_(torch.from_numpy(rounded))
    return model


def evaluate(model, atoms, head):
    """One structure."""
    table = tools.AtomicNumberTable(list(NUMBERS))
    options = {}
    if "heads" in inspect.signature(data.AtomicData.from_config).parameters:
        options["heads"] = model.heads
    atoms.info["head"] = head  # versions read it here or are told
    told = inspect.signature(data.config_from_atoms).parameters
    configuration = data.config_from_atoms(atoms, **({"head_name": head} if "head_name" in told else {}))
    item = data.AtomicData.from_config(configuration, z_table=table, cutoff=float(model.r_max), **options)
    batch = next(iter(torch_geometric.dataloader.DataLoader([item], batch_size=1)))
    periodic = bool(atoms.pbc.all())
    result = model(batch.to_dict(), compute_stress=periodic)
    stress = result["stress"][0].detach().numpy() if periodic else np.full((3, 3), np.nan)
    energies, forces = (result[key].detach().numpy() for key in ("node_energy", "forces"))
    return Answer(float(result["energy"].detach()), energies, forces, stress)


def main():
    """Every model that this version of the package wrote."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    FILES.mkdir(exist_ok=True)
    here = getattr(mace, "__version__", None) or version("mace-torch")
    for name in [name for name, (written, _) in PUBLISHED.items() if written == here]:
        model, chosen = build(name), structures()
        answers = {
            answer_name(key, head): evaluate(model, chosen[key].copy(), head)
            for key in ("crystal-0", "molecule-3")
            for head in getattr(model, "heads", ["Default"])
        }
        path = FILES / f"{name}.model"
        torch.save(model, path)
        compressed = lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
        (FILES / f"{name}.model.xz").write_bytes(compressed)
        size = path.stat().st_size
        path.unlink()
        write_answers(FILES / f"{name}.npz", answers, {})
        say(f"{here} {name}: {size} bytes, {len(compressed)} compressed")


if __name__ == "__main__":
    main()
