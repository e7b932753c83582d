"""Write a small ORB with random weights, which stands in for a released one in the recipes beside it.

python start.py direct direct.safetensors
python start.py conservative conservative.safetensors
python start.py conservative deep.safetensors --species Li Mn O --layers 5 --neighbours 120 --cutoff 6
"""

import argparse

from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

SIZES = {"features": 32, "hidden": 128, "head_hidden": 32}


def main() -> None:
    """Build the model that the options describe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("forces", choices=("direct", "conservative"))
    parser.add_argument("path")
    parser.add_argument("--species", nargs="+", default=["Si"])
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--neighbours", type=int, default=20)
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    options = vars(parser.parse_args())
    path = options.pop("path")
    config = SIZES | options | {"stress": options["forces"] == "direct"}
    references = dict.fromkeys(options["species"], 0.0)
    Potential(build_backbone("orb", config, seed=0), references, {"name": "orb-untrained"}).save(path)


if __name__ == "__main__":
    main()
