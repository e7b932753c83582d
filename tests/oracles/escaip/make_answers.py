"""What EScAIP says of a few structures, with the weights of small models; README.md says how to run this."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from oracles.escaip.models import MODELS, seeded, structures  # noqa: E402

#: Modules that upstream imports, and what it needs of them.
_STUBS = {
    "core/common/registry.py": "class registry:\n    register_model = staticmethod(lambda _: lambda cls: cls)\n",
    "core/common/utils.py": "def conditional_grad(decorator):\n    return lambda function: function\n",
    "core/models/base.py": "class BackboneInterface: ...\nclass HeadInterface: ...\n",
}


def upstream(folder):
    """Import upstream in float64, without what it is part of."""
    root = Path(tempfile.mkdtemp()) / "fairchem"
    shutil.copytree(folder, root / "core/models/escaip")
    for path in (root / "core/models/escaip").rglob("*.py"):
        text = path.read_text().replace("torch.float32", "torch.float64").replace(".float()", ".double()")
        path.write_text(re.sub(r"ceil\(cutoff \*", "ceil((cutoff + 4.0) *", text))
    for name, text in _STUBS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for package in ("", "core", "core/common", "core/models"):
        (root / package / "__init__.py").touch()
    sys.path.insert(0, str(root.parent))
    from fairchem.core.models.escaip import EScAIP

    return EScAIP


def arguments(config, periodic):
    """What upstream's constructor takes."""
    direct = config["forces"] == "direct"
    return {
        "regress_forces": True,
        "direct_forces": direct,
        "regress_stress": periodic and not direct,
        "hidden_size": config["hidden"],
        "num_layers": config["layers"],
        "use_compile": False,
        "use_padding": False,
        "use_pbc": periodic,
        "max_num_elements": 110,
        "max_atoms": 100,
        "max_batch_size": 4,
        "max_radius": config["cutoff"],
        "knn_k": config["nearest"],
        "knn_soft": True,
        "knn_sigmoid_scale": config["softness"],
        "knn_lse_scale": config["sharpness"],
        "knn_use_low_mem": True,
        "knn_pad_size": 60,
        "atten_name": "math",
        "atten_num_heads": config["heads"],
        "atom_embedding_size": config["embedding"],
        "node_direction_embedding_size": config["order_embedding"],
        "node_direction_expansion_size": config["orders"],
        "edge_distance_expansion_size": config["gaussians"],
        "edge_distance_embedding_size": config["distance_embedding"],
        "readout_hidden_layer_multiplier": config["multiplier"],
        "output_hidden_layer_multiplier": config["multiplier"],
        "ffn_hidden_layer_multiplier": config["multiplier"],
        "freequency_list": list(config["frequencies"]),
    }


def of_attributes(ours, theirs, weights):
    """Of embeddings and of the layer that joins them."""
    for end in ("source", "target"):
        yield f"{theirs}.{end}_atomic_embedding.weight", weights[f"{ours}.{end}.table.weight"]
        yield from of_layer(f"{ours}.{end}.orders", f"{theirs}.{end}_direction_embedding.0", weights)
    yield from of_layer(f"{ours}.distances.embedding", f"{theirs}.edge_distance_embedding.0", weights)
    parts = [weights[f"{ours}.{part}.out.weight"] for part in ("distances", "source", "target")]
    yield f"{theirs}.edge_attr_linear.0.weight", torch.cat(parts, 1)
    yield f"{theirs}.edge_attr_linear.0.bias", weights[f"{ours}.target.out.bias"]
    yield f"{theirs}.edge_attr_norm.weight", weights[f"{ours}.norm.weight"]


def of_layer(ours, theirs, weights):
    """Of one dense layer."""
    for name in ("weight", "bias"):
        if f"{ours}.{name}" in weights:
            yield f"{theirs}.{name}", weights[f"{ours}.{name}"]


def of_ffn(ours, theirs, weights):
    """Of a perceptron."""
    yield from of_layer(f"{ours}.hidden", f"{theirs}.0.0", weights)
    yield from of_layer(f"{ours}.out", f"{theirs}.1.0", weights)


def of_backbone(config, weights):
    """All weights but those of heads, under upstream's names."""
    start, block = "layers.0.start", "input_block.input_layer"
    yield from of_attributes(f"{start}.attributes", block, weights)
    yield from of_ffn(f"{start}.ffn", f"{block}.edge_ffn", weights)
    for kind, name in (("atom", "node"), ("edge", "edge")):
        yield f"input_block.norm_{name}.weight", weights[f"{start}.{kind}_norm.weight"]
    shares = [start, *(f"layers.{number}" for number in range(config["layers"]))]
    for number in range(config["layers"]):
        ours, theirs = f"layers.{number}", f"transformer_blocks.{number}"
        attention = f"{theirs}.graph_attention"
        yield from of_attributes(f"{ours}.attributes", attention, weights)
        ends = [weights[f"{ours}.{name}.weight"] for name in ("sent", "kept")]
        yield f"{attention}.node_hidden_linear.0.weight", torch.cat(ends, 1)
        yield f"{attention}.node_hidden_linear.0.bias", weights[f"{ours}.kept.bias"]
        yield from of_layer(f"{ours}.edge", f"{attention}.edge_hidden_linear.0", weights)
        yield from of_layer(f"{ours}.message", f"{attention}.message_linear.0", weights)
        yield f"{attention}.message_norm.weight", weights[f"{ours}.message_norm.weight"]
        for name in ("query", "key", "value"):
            yield from of_layer(f"{ours}.attention.{name}", f"{attention}.attn_in_proj_{name[0]}", weights)
        yield from of_layer(f"{ours}.attention.out", f"{attention}.attn_out_proj", weights)
        for kind, name in (("atom", "node"), ("edge", "edge")):
            yield f"{theirs}.norm_attn_{name}.weight", weights[f"{ours}.{kind}_norm.weight"]
            if f"{ours}.{kind}_update.norm.weight" in weights:
                yield f"{theirs}.norm_ffn_{name}.weight", weights[f"{ours}.{kind}_update.norm.weight"]
                yield from of_ffn(f"{ours}.{kind}_update.ffn", f"{theirs}.feedforward.mlp_{name}", weights)
    for kind, name in (("share", "node"), ("edge_share", "edge")):
        if f"{start}.{kind}.out.weight" not in weights:
            continue
        for number, share in enumerate(shares):
            theirs = f"readout_layers.{number}"
            yield f"{theirs}.pre_{name}_norm.weight", weights[f"{share}.{kind}.readout.norm.weight"]
            yield from of_ffn(f"{share}.{kind}.readout.ffn", f"{theirs}.{name}_ffn", weights)
        last = "readout" if kind == "share" else f"{shares[-1]}.pull"
        projections = [weights[f"{share}.{kind}.out.weight"] for share in shares]
        yield f"output_projection.{name}_projection.0.weight", torch.cat(projections, 1)
        yield f"output_projection.{name}_projection.0.bias", weights[f"{last}.offset"]
        yield f"output_projection.output_norm_{name}.weight", weights[f"{last}.norm.weight"]


def of_head(ours, theirs, weights):
    """Of what gives a few numbers."""
    yield from of_ffn(f"{ours}.ffn", f"{theirs}.ffn", weights)
    yield f"{theirs}.final_output.0.weight", weights[f"{ours}.out.weight"]


def filled(module, weights):
    """A module with all of its weights, and norms as they are in float32."""
    module.load_state_dict(dict(weights))
    for each in module.modules():
        if isinstance(each, torch.nn.RMSNorm):
            each.eps = 2.0**-23
    return module


class Data(dict):
    """A structure, as upstream's batches are."""

    __getattr__ = dict.__getitem__


def batch(atoms):
    """A batch of one structure."""
    return Data(
        pos=torch.tensor(atoms.positions),
        cell=torch.tensor(atoms.cell.array)[None],
        atomic_numbers=torch.tensor(atoms.numbers),
        natoms=torch.tensor([len(atoms)]),
        batch=torch.zeros(len(atoms), dtype=torch.int64),
        num_graphs=1,
    )


def evaluate(package, name, atoms):
    """Energies of atoms, forces and stress."""
    backbone = seeded(name)
    config, weights = backbone.config, backbone.state_dict()
    theirs = package.EScAIPBackbone(**arguments(config, bool(atoms.pbc.all())))
    filled(theirs, of_backbone(config, weights))
    data = batch(atoms)
    found = theirs(data)
    energy = dict(of_head("readout.energy", "energy_layer", weights))
    if config["forces"] == "direct":
        energy["node_norm.weight"] = weights["readout.energy_norm.weight"]
        head = filled(package.EScAIPEnergyHead(theirs), energy)
        energies = head.energy_layer(head.node_norm(found["node_features"])).squeeze(-1)
        pull = f"layers.{config['layers'] - 1}.pull"
        force = dict(of_head(f"{pull}.head", "force_direction_layer", weights))
        force |= dict(of_head("readout.force", "force_magnitude_layer", weights))
        force["edge_norm.weight"] = weights[f"{pull}.head_norm.weight"]
        force["node_norm.weight"] = weights["readout.force_norm.weight"]
        result = filled(package.EScAIPDirectForceHead(theirs), force)(data, found)
        return {"energies": energies.tolist(), "forces": result["forces"].tolist()}
    head = package.EScAIPGradientEnergyForceStressHead(theirs, wrap_property=False)
    filled(head, energy | {"node_norm.weight": torch.ones(config["hidden"])})  # which it does not use
    energies = head.energy_layer(found["node_features"]).squeeze(-1).tolist()
    result = head(data, found)
    answer = {"energies": energies, "forces": result["forces"].tolist()}
    return answer | ({"stress": result["stress"].reshape(3, 3).tolist()} if atoms.pbc.all() else {})


def main():
    """Write the answers."""
    torch.set_default_dtype(torch.float64)
    package = upstream(sys.argv[1])
    answers = {
        f"{name} {case}": evaluate(package, name, atoms) for name in MODELS for case, atoms in structures().items()
    }
    (HERE / "answers.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
