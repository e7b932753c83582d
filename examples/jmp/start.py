"""Write a small JMP with random weights, which stands in for an imported one in the recipes beside it.

python start.py start.safetensors
python start.py deep.safetensors --species Li Mn O --layers 4
"""

import argparse

from halocline.model.build import build_backbone
from halocline.model.config import to_json
from halocline.plugins.backbones.jmp import JMPConfig
from halocline.potential.potential import Potential

SIZES = {
    **{"atom": 16, "edge": 16, "radial": 8, "angular": 4, "dihedral": 4, "gaussians": 24, "degrees": 3},
    **dict.fromkeys(("triplet_in", "triplet_out", "quadruplet_in", "quadruplet_out", "pair_in", "pair_out"), 8),
    **dict.fromkeys(("before_skip", "after_skip", "atom_layers", "concat_layers", "update_layers"), 1),
    **{"output_layers": 1, "final_layers": 1, "head_layers": 1},
    **{"cutoff": 5.0, "main": 10, "mixed": 8, "close": 4, "pairs": 16, "softness": 0.05},
}


def main() -> None:
    """Build the model that the options describe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--species", nargs="+", default=["Si"])
    parser.add_argument("--layers", type=int, default=2)
    options = parser.parse_args()
    config = JMPConfig.published("S", options.species, layers=options.layers, **SIZES)
    backbone = build_backbone("jmp", to_json(config), seed=0)
    Potential(backbone, dict.fromkeys(options.species, 0.0), {"name": "jmp-untrained"}).save(options.path)


if __name__ == "__main__":
    main()
