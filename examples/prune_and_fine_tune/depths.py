"""What each depth of a model costs and how much halo it has, if only its speed matters.

    python depths.py ORB.safetensors STRUCTURES -o depths [--frame N]

The model is pruned to every depth, and its costs are those that ``halocline prune`` tells: times of evaluations in
turns, and what 8 and 64 parts evaluate of a uniform cube as dense as the structure. Nothing is fitted, so that
weights may be random ones. It writes depths.json and depths.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase.io

import halocline
from halocline.graph import NeighbourList, Structure
from halocline.program import Precision
from halocline.training.pruning.costs import Costs, measure_costs, repeated


def main() -> None:
    """Measure every depth, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("structures")
    parser.add_argument("-o", "--output", type=Path, required=True, help="without suffix")
    parser.add_argument("--frame", type=int, default=0)
    arguments = parser.parse_args()
    atoms = ase.io.read(arguments.structures, arguments.frame)
    whole = halocline.load(arguments.model)
    depths = len(whole.backbone.layers)
    every = [whole, *(halocline.load(arguments.model, prune=depth) for depth in range(depths - 1, 0, -1))]
    graph = NeighbourList(whole.backbone.neighbours).graph(Structure.from_atoms(atoms))
    costs = measure_costs(every, atoms, [graph], Precision.FLOAT32, "cpu")
    document: dict[str, Any] = {
        "model": whole.backbone.name,
        "config": whole.backbone.config | {"species": len(whole.species)},
        "structure": {
            "formula": str(atoms.symbols),
            "frame": arguments.frame,
            "timed_atoms": len(repeated(atoms)),
        },
        "depths": [asdict(each) for each in costs],
    }
    arguments.output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(table(costs))


def table(costs: list[Costs]) -> str:
    """One line for each depth."""
    heads = ["layers", "receptive field, Å", "µs per atom", "time", "halo 8", "halo 64"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in costs:
        halos = (f"{each.redundancy[ranks]:.2f}" for ranks in sorted(each.redundancy))
        cells = [
            str(each.layers),
            f"{each.receptive_field:g}",
            f"{each.time:.0f}",
            f"{each.time_ratio:.2f}",
            *halos,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
