"""How many edges parts work on: every layer on the whole halo, only what later layers need, and one layer of two.

    python benchmarks/edge_work.py [--atoms 100000] [--parts 8] [--partitioner rcb] [--json FILE]

Nothing is timed: a structure is really divided, its parts are really cut, and edges are counted, once for each
layer that works on them. Models are MACE with two layers: those of the comparison with other packages, which reach
6 Å a layer, and the shipped one of water, which reaches 4.5 Å.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from peers import structures
from peers.models import CUTOFF, MODELS, NEIGHBOURS

import halocline
from halocline.cost.profile import Profile
from halocline.files import write_atomically
from halocline.graph import Edges, NeighbourList, Structure
from halocline.model import Backbone
from halocline.model.build import build_backbone
from halocline.model.pruner import pruned
from halocline.partition.part import Cutter, Part
from halocline.plugin import registry
from halocline.program import Precision

WATER = "water-revpbe0d3-mace"


def main() -> None:
    """Count for each model, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=100_000)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--partitioner", default="rcb")
    parser.add_argument("--json", type=Path, help="write here")
    arguments = parser.parse_args()
    rows = []
    for name, backbone, material in (
        ("two layers of 6 Å, water", peer_model(("H", "O")), "water"),
        ("two layers of 6 Å, silicon", peer_model(("Si",)), "silicon"),
        (f"{WATER}, water", halocline.load(WATER).backbone, "water"),
    ):
        atoms = structures.structure(material, arguments.atoms)
        rows.append({"what": name} | counted(backbone, atoms, arguments.partitioner, arguments.parts))
        print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
    if arguments.json:
        write_atomically(
            arguments.json, (json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n").encode()
        )


def peer_model(species: tuple[str, ...]) -> Backbone:
    """A MACE of the sizes of ``mace-L0`` with weights from a seed: edges do not ask for more."""
    sizes = dict(MODELS["mace-L0"].sizes)
    sizes["hidden_degree"] = sizes.pop("degree")
    return build_backbone(
        "mace", sizes | {"species": list(species), "cutoff": CUTOFF, "average_neighbours": NEIGHBOURS}
    )


def counted(backbone: Backbone, atoms: Atoms, partitioner: str, parts: int) -> dict[str, Any]:
    """Edges that all parts together work on in an evaluation.

    Returns:
        ``full``: every layer works on all edges that an atom receives which its part holds, halo and all.
        ``held``: likewise, on those whose sender it holds as well. ``trimmed``: each layer works on what later
        ones need, as evaluators do. ``pruned``: likewise, by the model's first layer alone. And how many times
        the last the others are.
    """
    graph = NeighbourList(backbone.neighbours, skin=0.0).graph(Structure.from_atoms(atoms))
    owners = registry().load("partitioner", partitioner)().owners(graph, parts)
    cutter = Cutter(graph.edges, len(atoms))
    whole, first = (Profile.of(each, Precision.FLOAT32) for each in (backbone, pruned(backbone, 1)))
    received = np.bincount(graph.edges.receivers, minlength=len(atoms))
    found = dict.fromkeys(("full", "held", "trimmed", "pruned"), 0)
    for part in range(parts):
        owned = np.flatnonzero(owners == part)
        piece = cutter.cut(owned, whole.reach)
        found["full"] += len(whole.levels) * int(received[piece.atoms].sum())
        found["held"] += len(whole.levels) * held(piece, graph.edges, len(atoms))
        found["trimmed"] += sum(piece.edge_levels[level] for level in whole.levels)
        found["pruned"] += sum(cutter.cut(owned, first.reach).edge_levels[level] for level in first.levels)
    over_pruned = {name: count / found["pruned"] for name, count in found.items()}
    return {
        "atoms": len(atoms),
        "edges": len(graph.edges),
        "parts": parts,
        "partitioner": partitioner,
        "counts": found,
        "over_pruned": over_pruned,
    }


def held(part: Part, edges: Edges, atoms: int) -> int:
    """Edges between two atoms of a part, halo and all."""
    within = np.zeros(atoms, bool)
    within[part.atoms] = True
    return int(np.count_nonzero(within[edges.senders] & within[edges.receivers]))


if __name__ == "__main__":
    main()
