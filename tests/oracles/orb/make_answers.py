"""Makes answers.json; see README.md. Runs in an environment of its own, with orb-models 0.5.5."""

from __future__ import annotations

import json
import sys
import types
from functools import partial
from pathlib import Path

import torch
from seeded import SIZES, structures, tensors


def map_structure(function, tree):
    """What upstream takes from dm-tree."""
    if isinstance(tree, dict):
        return {name: map_structure(function, each) for name, each in tree.items()}
    if isinstance(tree, tuple):
        return type(tree)(*(map_structure(function, each) for each in tree))
    return function(tree)


for name, attributes in {
    "cached_path": {"cached_path": None},  # of files that are not fetched here
    "tree": {"map_structure": map_structure},
}.items():
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(attributes)

from orb_models.forcefield import pretrained  # noqa: E402
from orb_models.forcefield.atomic_system import SystemConfig, ase_atoms_to_atom_graphs  # noqa: E402
from orb_models.forcefield.direct_regressor import DirectForcefieldRegressor  # noqa: E402
from orb_models.forcefield.featurization_utilities import gaussian_basis_function  # noqa: E402
from orb_models.forcefield.forcefield_heads import EnergyHead, ForceHead, GraphHead  # noqa: E402
from orb_models.forcefield.forcefield_utils import set_cutoff_layers  # noqa: E402
from orb_models.forcefield.gns import MoleculeGNS  # noqa: E402
from orb_models.forcefield.pair_repulsion import ZBLBasis  # noqa: E402

WIDTHS = {
    "latent_dim": SIZES["features"],
    "base_mlp_hidden_dim": SIZES["hidden"],
    "head_mlp_hidden_dim": SIZES["head_hidden"],
    "num_message_passing_steps": SIZES["layers"],
}


def version_2():
    """As `pretrained.orb_v2_architecture` makes it, with other widths."""
    head = {
        "latent_dim": SIZES["features"],
        "num_mlp_layers": 1,
        "mlp_hidden_dim": SIZES["head_hidden"],
        "activation": "ssp",
    }
    return DirectForcefieldRegressor(
        heads={
            "energy": EnergyHead(**head),
            "forces": ForceHead(**head),
            "stress": GraphHead(**head, target="stress", node_aggregation="mean"),
        },
        model=MoleculeGNS(
            num_node_in_features=256,
            num_node_out_features=3,
            num_edge_in_features=23,
            latent_dim=SIZES["features"],
            interaction_params={"distance_cutoff": True, "attention_gate": "sigmoid"},
            num_message_passing_steps=SIZES["layers"],
            num_mlp_layers=2,
            mlp_hidden_dim=SIZES["hidden"],
            rbf_transform=partial(gaussian_basis_function, num_bases=20, radius=10.0),
            use_embedding=True,
            node_feature_names=["feat"],
            edge_feature_names=["feat"],
            activation="ssp",
            mlp_norm="layer_norm",
        ),
        pair_repulsion=False,
    )


conservative, direct = pretrained.orb_v3_conservative_architecture, pretrained.orb_v3_direct_architecture
MODELS = {
    "v2": (version_2, 20),
    "v3-direct-20": (partial(direct, **WIDTHS), 20),
    "v3-direct-inf": (partial(direct, **WIDTHS), 120),
    "v3-conservative-20": (partial(conservative, **WIDTHS), 20),
    "v3-conservative-inf": (partial(conservative, **WIDTHS), 120),
    "v3-conservative-omol": (partial(conservative, **WIDTHS, has_charge_spin_cond=True, has_stress=False), 120),
    "v3-direct-omol": (partial(direct, **WIDTHS, has_charge_spin_cond=True, has_stress=False), 120),
}
RELEASED = {
    "v2": pretrained.orb_v2_architecture,
    "v3-conservative": conservative,
    "v3-direct": direct,
    "v3-conservative-omol": partial(conservative, has_charge_spin_cond=True, has_stress=False),
    "v3-direct-omol": partial(direct, has_charge_spin_cond=True, has_stress=False),
}


def layout(model):
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def answers(model, neighbours, *, told):
    found = {}
    for name, atoms in structures().items():
        if told:
            atoms.info |= {"charge": -1.0, "spin": 2.0}
        config = SystemConfig(radius=6.0, max_num_neighbors=neighbours)
        graphs = ase_atoms_to_atom_graphs(
            atoms, config, output_dtype=torch.float64, graph_construction_dtype=torch.float64
        )
        values = model.predict(graphs)
        forces = values.get("grad_forces", values.get("forces"))
        found[name] = {"energy": values["energy"].item(), "forces": forces.tolist(), "edges": len(graphs.senders)}
        stress = values.get("grad_stress", values.get("stress"))
        if stress is not None and atoms.pbc.all():
            found[name]["stress"] = stress.reshape(6).tolist()
    return found


def main():
    made = {}
    for name, (build, neighbours) in MODELS.items():
        torch.set_default_dtype(torch.float32)  # as a released model is made before it is cast
        model = build()
        shapes = layout(model)
        model.load_state_dict(tensors(shapes), strict=True)
        torch.set_default_dtype(torch.float64)
        model = model.double().eval()
        told = "omol" in name
        made[name] = {"layout": shapes, "answers": answers(model, neighbours, told=told)}
        set_cutoff_layers(model.model, 1)
        made[name]["pruned"] = answers(model, neighbours, told=told)["dense"]
    torch.set_default_dtype(torch.float32)
    repulsion = ZBLBasis(p=6, node_aggregation="sum").double()
    torch.set_default_dtype(torch.float64)
    from ase import Atoms

    pair = ase_atoms_to_atom_graphs(Atoms("OH", [(0, 0, 0), (0.8, 0, 0)]), SystemConfig(6.0, 20))
    content = {
        "models": made,
        "repulsion of O-H at 0.8": repulsion(pair)["energy"].item(),
        "released": {name: layout(build()) for name, build in RELEASED.items()},
    }
    Path(__file__).with_name("answers.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
