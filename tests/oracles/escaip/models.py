"""Models and structures of the comparison with EScAIP, for both environments."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

from halocline.model.build import build_backbone

_COMMON = {
    "species": ["H", "C", "O"],
    "hidden": 16,
    "heads": 2,
    "layers": 3,
    "frequencies": [3, 2, 1, 2],
    "embedding": 4,
    "orders": 5,
    "order_embedding": 3,
    "gaussians": 9,
    "distance_embedding": 7,
    "cutoff": 4.0,
    "nearest": 6,
    "capacity": 25,
    "smooth": False,
}

#: Forces of both kinds; one layer, and features that meet without angles.
MODELS = {
    "gradient": _COMMON,
    "direct": _COMMON | {"forces": "direct", "layers": 2},
    "plain": _COMMON | {"layers": 1, "frequencies": [8], "orders": 10, "nearest": 10, "capacity": 29},
}


def seeded(name):
    """A model with weights that no layer leaves at zero."""
    backbone = build_backbone("escaip", MODELS[name], seed=0)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for weight in backbone.parameters():
            scale = 0.7 / weight.shape[-1] ** 0.5 if weight.ndim > 1 else 0.3
            shift = 1.0 if weight.ndim == 1 else 0.0
            weight.copy_(shift + scale * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    return backbone


def structures():
    """A molecule, a liquid's box, a skewed cell smaller than the cutoff, and one atom."""
    rng = np.random.default_rng(3)
    cell = np.diag([3.1, 3.4, 2.9]) + 0.2 * rng.standard_normal((3, 3))
    places = np.array([[0.0, 0.0, 0.0], [0.5, 0.45, 0.1], [0.1, 0.55, 0.5]])
    crystal = Atoms("COH", scaled_positions=places, cell=cell, pbc=True)
    molecule = Atoms(
        "C2OH3",
        positions=[
            [0, 0, 0],
            [1.5, 0.1, 0],
            [2.0, 1.4, 0.2],
            [2.1, 1.7, 1.1],
            [-0.4, 1.0, 0.1],
            [-0.5, -0.5, 0.8],
        ],
    )
    water = Atoms("OHH", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    liquid = Atoms(cell=[6.2, 6.2, 6.2], pbc=True)
    for site in np.ndindex(2, 2, 2):
        one = water.copy()
        one.rotate(float(rng.uniform(0, 360)), rng.standard_normal(3))
        one.positions += 3.1 * np.array(site) + rng.uniform(-0.2, 0.2, 3)
        liquid += one
    return {"crystal": crystal, "molecule": molecule, "liquid": liquid, "atom": Atoms("O")}
