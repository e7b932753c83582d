"""What is true of every MACE, whatever its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from structures import random_structure

from halocline.errors import BackboneError
from halocline.model.build import build_backbone
from halocline.model.pruner import pruned
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.probes.receptive_field import measure_hops

#: Of energies and forces of order one.
ROUNDING = 1e-12

DRESSED = {"first_block": "agnostic", "density": True, "agnesi": True, "repulsion": True}


def potential(**changes):
    config = registry().load("backbone", "mace").example_config() | changes
    backbone = build_backbone("mace", config, seed=1)
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {"summary": "random"})


def evaluate(model, atoms):
    return model(atoms, dtype="float64", device="cpu")


@pytest.mark.parametrize("changes", [{}, DRESSED], ids=["plain", "dressed"])
def test_pruned_model_is_the_first_readouts(changes):
    model, atoms = potential(layers=3, **changes), random_structure(2, atoms=8, edge=(4.0, 5.0))
    shallow = Potential(pruned(model.backbone, 1), model.reference_energies, model.card)
    assert (measure_hops(model.backbone), measure_hops(shallow.backbone)) == (3, 1)
    with torch.no_grad():
        for head in model.backbone.heads[1:]:
            head.out.weight.zero_()
    expected, found = evaluate(model, atoms), evaluate(shallow, atoms)
    np.testing.assert_allclose(found.energies, expected.energies, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=ROUNDING)
    assert (
        sum(p.numel() for p in shallow.backbone.parameters())
        < sum(p.numel() for p in model.backbone.parameters()) / 2
    )


def test_repulsion_is_that_of_nuclei_and_ends_at_the_bond_length():
    with_it, without = potential(**DRESSED), potential(**DRESSED | {"repulsion": False})
    without.backbone.load_state_dict(with_it.backbone.state_dict(), strict=False)
    atoms = random_structure(3, atoms=2, pbc=False)
    energies = []
    for distance in (0.3, 0.5, 0.6, 0.7):
        atoms.symbols, atoms.positions = ["H", "H"], [[0.0, 0.0, 0.0], [0.0, 0.0, distance]]
        energies.append(evaluate(with_it, atoms).energy - evaluate(without, atoms).energy)
    assert energies[0] > energies[1] > energies[2] > 0.0  # covalent radii of hydrogen are 0.31 Å
    assert energies[3] == pytest.approx(0.0, abs=ROUNDING)


def test_degree_zero_harmonics_make_a_model_of_distances():
    model = potential(max_degree=0, hidden_degree=0)
    atoms = random_structure(4, atoms=3, symbols=("O",), pbc=False)
    first = evaluate(model, atoms).energy
    atoms.rotate(40.0, (1.0, 2.0, 3.0))
    assert evaluate(model, atoms).energy == pytest.approx(first, abs=ROUNDING)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"species": ["H", "Xx"]}, "chemical symbols"),
        ({"species": ["H", "H"]}, "different"),
        ({"hidden_degree": 3, "max_degree": 2}, "hidden_degree ≤ max_degree"),
        ({"max_degree": 4}, "max_degree ≤ 3"),
        ({"correlation": 4}, "at most 3"),
        ({"channels": 0}, "at least 1"),
        ({"first_block": "nonlinear"}, "'agnostic' or 'residual'"),
        ({"average_neighbours": 0.0}, "positive"),
        ({"scale": float("inf")}, "scale"),
        ({"radial_units": [8, 0]}, "radial_units"),
        ({"envelope_order": 1}, "envelope_order"),
    ],
    ids=str,
)
def test_impossible_configs_are_refused_by_name(changes, words):
    with pytest.raises(BackboneError, match=words):
        potential(**changes)
