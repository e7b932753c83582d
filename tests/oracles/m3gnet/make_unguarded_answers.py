"""Answers for structures with straight angles, from packages whose guard on angles is taken away.

Both packages clamp cos θ to ±(1 - 1e-7) before they take the angle. That is no part of the model: where two
neighbours lie in one line with an atom, as in perfect crystals, it shifts energies by up to 1e-9 of their size.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from oracles.m3gnet.angles import has_straight_angles
from oracles.m3gnet.records import FOLDER, read_answers, read_structures, write_answers
from oracles.m3gnet.report import say


def main() -> None:
    """Evaluate the structures with straight angles among those that have been answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", choices=("matgl", "mattersim"))
    parser.add_argument("weights", type=Path, nargs="?", help="folder that holds MatGL's potentials")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = _matgl(arguments.weights) if arguments.package == "matgl" else _mattersim()
    for name, oracle, guard in models:
        kind = "organic" if name == "ani-1x" else "universal"
        structures = read_structures(FOLDER / f"structures-{kind}.npz")
        answered = read_answers(FOLDER / f"{name}.npz", "float64")
        straight = {
            key: atoms for key, atoms in structures.items() if key in answered and has_straight_angles(atoms)
        }
        with guard:
            answers = {key: oracle.evaluate(atoms, "float64") for key, atoms in straight.items()}
        write_answers(FOLDER / f"{name}-unguarded.npz", {"float64": answers})
        shift = max(abs(answers[key].energy - answered[key].energy) for key in answers)
        say(f"{name}: {len(answers)} structures with straight angles; the guard shifts them by {shift:.1e} eV")


def _matgl(weights: Path) -> Iterator:
    from matgl.models import _m3gnet
    from oracles.m3gnet.make_answers import MODELS
    from oracles.m3gnet.matgl_oracle import MatglOracle

    guarded = _m3gnet.compute_theta_and_phi
    for name, folder in MODELS.items():
        oracle = MatglOracle(weights / folder)
        unguarded = lambda vectors, lengths, triples: guarded(vectors, lengths, triples, eps=0.0)  # noqa: E731
        yield name, oracle, mock.patch.object(_m3gnet, "compute_theta_and_phi", unguarded)


def _mattersim() -> Iterator:
    from oracles.m3gnet.make_mattersim_answers import MODELS, SEED
    from oracles.m3gnet.mattersim_oracle import MattersimOracle

    for name, (arguments, _) in MODELS.items():
        yield name, MattersimOracle(SEED, **arguments), _smaller_guard()


@contextlib.contextmanager
def _smaller_guard() -> Iterator[None]:
    """MatterSim goes through the angle itself, whose derivative must stay finite."""
    clamp = torch.clamp

    def nearly(values, min=None, max=None):
        if max == 1.0 - 1e-7:
            min, max = -1.0 + 1e-15, 1.0 - 1e-15
        return clamp(values, min=min, max=max)

    with mock.patch.object(torch, "clamp", nearly):
        yield


if __name__ == "__main__":
    main()
