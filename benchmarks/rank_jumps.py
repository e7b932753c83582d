"""By how much energies and forces jump where neighbours change places, of models that keep the nearest ones.

    python benchmarks/rank_jumps.py -o docs/measured/cpu/rank_jumps.json

All atoms move along straight paths. Along a smooth path the energy changes by the work of the forces, up to the
third order in the step; where it does not, the interval is rough, and is halved until what is left is a jump.
Weights are random ones, so jumps are told beside the root mean square of forces.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk

from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

#: Å, root mean square by coordinate: length of a step, and of a path.
STEP, LENGTH = 2e-3, 0.04

#: Halvings of a step: to 5e-7 Å, where smooth energies differ by their slope alone.
HALVINGS = 12

#: Of the work of the forces in a step, beyond which the energy has changed otherwise than smoothly.
SMOOTH = 1e-3

SIZES = {"features": 32, "hidden": 64, "head_hidden": 32, "layers": 3}

#: Numbers of neighbours and cutoff are JMP's own: chains of 30 · 8 · 30 edges for each atom.
OF_JMP = {
    **dict.fromkeys(("atom", "edge"), 16),
    **dict.fromkeys(("radial", "angular", "dihedral", "triplet_in", "triplet_out"), 4),
    **dict.fromkeys(("quadruplet_in", "quadruplet_out", "pair_in", "pair_out"), 4),
    **{"layers": 1, "degrees": 3, "softness": 0.05},
}

ESCAIP = {"hidden": 32, "heads": 1, "frequencies": [32], "layers": 2}

#: Backbone, what its config has beside the defaults, and structures; ORB's defaults are the published sizes.
MODELS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "orb, 20 nearest": ("orb", SIZES | {"neighbours": 20}, ("liquid water", "diamond")),
    "orb, 120 nearest": ("orb", SIZES, ("liquid water", "diamond")),
    "orb, published sizes, 20 nearest": ("orb", {"neighbours": 20}, ("diamond, one cell",)),
    "orb, published sizes, 120 nearest": ("orb", {}, ("diamond, one cell",)),
    "escaip, smooth": ("escaip", ESCAIP, ("liquid water", "diamond")),
    "escaip, plain": ("escaip", ESCAIP | {"capacity": 49, "smooth": False}, ("liquid water", "diamond")),
    "jmp": ("jmp", OF_JMP, ("diamond, one cell",)),
}


class Point(NamedTuple):
    """A place on a path, 0 to 1: energy in eV, and forces (N, 3) in eV/Å."""

    place: float
    energy: float
    forces: np.ndarray


def main() -> None:
    """Measure all models, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--length", type=float, default=LENGTH, help="of the path, Å")
    parser.add_argument("--halvings", type=int, default=HALVINGS)
    parser.add_argument(
        "--halved", type=int, help="so many steps, the least smooth ones, smooth or not; else all rough"
    )
    arguments = parser.parse_args()
    found = []
    for name in arguments.models:
        backbone, config, chosen = MODELS[name]
        for structure in chosen:
            atoms = structures()[structure]
            species = sorted(set(atoms.get_chemical_symbols()))
            model = build_backbone(backbone, config | {"species": species}, seed=0)
            potential = Potential(model, dict.fromkeys(species, 0.0), {})
            measured = jumps(potential, atoms, arguments)
            found.append({"model": name, "structure": structure, "atoms": len(atoms), **measured})
            print(json.dumps(found[-1]), flush=True)
    arguments.output.write_text(json.dumps(found, indent=1) + "\n")


def structures() -> dict[str, Atoms]:
    """Water with 90 neighbours within 6 Å, and diamond with 159."""
    water = ase.io.read(Path(__file__).parents[1] / "examples/water.extxyz", 0)
    cell, diamond = bulk("C", cubic=True), bulk("C", cubic=True) * 2
    for atoms in (cell, diamond):
        atoms.rattle(0.05, seed=1)
    return {"liquid water": water, "diamond": diamond, "diamond, one cell": cell}


def jumps(potential: Potential, atoms: Atoms, options: argparse.Namespace) -> dict[str, Any]:
    """The largest jumps along a path, how many steps are not smooth, and forces to compare with."""
    rng = np.random.default_rng(0)
    along = rng.normal(scale=options.length, size=(len(atoms), 3))

    def at(place: float) -> Point:
        moved = atoms.copy()
        moved.positions += place * along
        result = potential(moved, dtype="float64", device="cpu")
        return Point(place, result.energy, result.forces)

    points = [at(place) for place in np.linspace(0.0, 1.0, round(options.length / STEP) + 1)]
    pairs = list(pairwise(points))
    rests = [abs(_rest(*pair, along)) for pair in pairs]
    rough = [i for i, pair in enumerate(pairs) if rests[i] > SMOOTH * max(abs(_work(*pair, along)), 1e-9)]
    chosen = rough if options.halved is None else np.argsort(rests)[-options.halved :]
    found = [_narrowed(at, *pairs[i], along, options.halvings) for i in chosen]
    forces = float(np.sqrt(np.mean(points[0].forces ** 2)))
    energies = [abs(_rest(one, other, along)) for one, other in found]
    steps = [float(np.abs(other.forces - one.forces).max()) for one, other in found]
    return {
        "rough_intervals": len(rough),
        "intervals": len(pairs),
        "halved": len(found),
        "rms_force_eV_per_A": forces,
        "largest_energy_jump_meV": 1e3 * max(energies, default=0.0),
        "largest_force_jump_eV_per_A": max(steps, default=0.0),
    }


def _narrowed(
    at: Callable[[float], Point], one: Point, other: Point, along: np.ndarray, halvings: int
) -> tuple[Point, Point]:
    """The ends of a small piece of an interval, always of the half that is less smooth."""
    for _ in range(halvings):
        middle = at(0.5 * (one.place + other.place))
        halves = ((one, middle), (middle, other))
        one, other = max(halves, key=lambda ends: abs(_rest(*ends, along)))
    return one, other


def _work(one: Point, other: Point, along: np.ndarray) -> float:
    """Of the forces between two places, by the trapezoidal rule, eV."""
    return float((0.5 * (one.forces + other.forces) * along).sum()) * (other.place - one.place)


def _rest(one: Point, other: Point, along: np.ndarray) -> float:
    """What the energy changes by beyond that, eV."""
    return other.energy - one.energy + _work(one, other, along)


if __name__ == "__main__":
    main()
