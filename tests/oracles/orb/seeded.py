"""Weights and structures that upstream's models and ours are compared on; numbers follow from names."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from ase import Atoms

#: Widths of the small models, and how many layers they have.
SIZES = {"features": 16, "hidden": 24, "head_hidden": 12, "layers": 2}

#: What scales something.
_POSITIVE = ("running_var", "layer_norm.weight")


def tensors(layout):
    """Single-precision values of tensors, name → shape, that differ from each other."""
    return {name: _values(name, tuple(shape)) for name, shape in layout.items()}


def _values(name, shape):
    if name.endswith("num_batches_tracked"):
        return torch.full(shape, 1000)
    if name.startswith("model.rbf_transform."):
        return _basis(name.rpartition(".")[2])
    numbers = np.random.default_rng(zlib.crc32(name.encode())).random(shape)
    if name.endswith(_POSITIVE):
        return torch.tensor(0.5 + numbers, dtype=torch.float32)
    if name.endswith("atom_emb.embeddings.weight") or len(shape) < 2:
        return torch.tensor(2.0 * numbers - 1.0, dtype=torch.float32)
    return torch.tensor((2.0 * numbers - 1.0) * (3.0 / shape[1]) ** 0.5, dtype=torch.float32)


def _basis(name):
    """Buffers of the Bessel functions, whose values upstream computes in single precision."""
    frequencies = np.pi / 6.0 * torch.linspace(1.0, 8.0, 8)
    return {
        "bessel_weights": frequencies,
        "r_max": torch.tensor(6.0),
        "prefactor": torch.tensor(np.sqrt(2.0 / 6.0)).float(),
    }[name]


def structures():
    """Molecules, a liquid and crystals, one of them so dense that nuclei repel each other."""
    rng = np.random.default_rng(11)
    water = Atoms("OH2", [(0.0, 0.0, 0.0), (0.96, 0.02, 0.01), (-0.23, 0.93, -0.02)])
    angles = np.arange(6) * np.pi / 3.0
    ring = np.stack([np.cos(angles), np.sin(angles), 0.0 * angles], axis=1)
    benzene = Atoms("C6H6", np.concatenate([1.39 * ring, 2.48 * ring]) + rng.normal(0.0, 0.05, (12, 3)))
    grid = 3.1 * np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    turns = np.linalg.qr(rng.normal(size=(8, 3, 3)))[0]
    places = np.concatenate([g + water.positions @ turn for g, turn in zip(grid, turns, strict=True)])
    liquid = Atoms("OH2" * 8, places + rng.normal(0.0, 0.02, places.shape), cell=[6.2] * 3, pbc=True)
    triclinic = Atoms(
        "SiGe",
        [(0.1, 0.0, 0.05), (1.5, 1.3, 1.2)],
        cell=[(3.8, 0.1, 0), (1.8, 3.4, 0.2), (1.7, 1.2, 3.1)],
        pbc=True,
    )
    dense = Atoms(
        "CuOCu",
        [(0, 0, 0), (1.3, 0.4, 0.2), (1.9, 1.8, 1.7)],
        cell=[(3.6, 0, 0), (0.4, 3.7, 0), (0.5, 0.6, 4.1)],
        pbc=True,
    )
    return {"water": water, "benzene": benzene, "liquid": liquid, "triclinic": triclinic, "dense": dense}
