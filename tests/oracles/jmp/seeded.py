"""Weights and structures that upstream's model and ours are compared on; numbers follow from names."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from ase import Atoms

#: Upstream's hyper-parameters of the small model that is compared; the others are those of its published sizes.
SMALL = {
    "num_spherical": 3,
    "num_radial": 12,
    "num_blocks": 2,
    "emb_size_atom": 6,
    "emb_size_edge": 8,
    "emb_size_trip_in": 4,
    "emb_size_trip_out": 5,
    "emb_size_quad_in": 3,
    "emb_size_quad_out": 4,
    "emb_size_aint_in": 5,
    "emb_size_aint_out": 3,
    "emb_size_rbf": 4,
    "emb_size_cbf": 3,
    "emb_size_sbf": 4,
    "num_before_skip": 1,
    "num_after_skip": 1,
    "num_concat": 1,
    "num_atom": 1,
    "num_output_afteratom": 1,
    "num_atom_emb_layers": 1,
    "num_global_out_layers": 1,
}

#: The same of the published sizes.
SIZES = {
    "S": {
        "num_spherical": 7,
        "num_radial": 128,
        "num_blocks": 4,
        "emb_size_atom": 256,
        "emb_size_edge": 512,
        "emb_size_trip_in": 64,
        "emb_size_trip_out": 64,
        "emb_size_quad_in": 32,
        "emb_size_quad_out": 32,
        "emb_size_aint_in": 64,
        "emb_size_aint_out": 64,
        "emb_size_rbf": 16,
        "emb_size_cbf": 16,
        "emb_size_sbf": 32,
        "num_before_skip": 2,
        "num_after_skip": 2,
        "num_concat": 1,
        "num_atom": 3,
        "num_output_afteratom": 3,
        "num_atom_emb_layers": 2,
        "num_global_out_layers": 2,
    }
}
SIZES["L"] = SIZES["S"] | {
    "num_blocks": 6,
    "emb_size_edge": 1024,
    "emb_size_trip_out": 128,
    "emb_size_quad_in": 64,
    "emb_size_rbf": 32,
    "emb_size_sbf": 64,
    "num_concat": 4,
}

#: What all published sizes have in common.
COMMON = {
    "num_targets": 1,
    "regress_forces": True,
    "regress_energy": True,
    "direct_forces": True,
    "use_pbc": True,
    "scale_backprop_forces": False,
    "rbf": {"name": "gaussian"},
    "rbf_spherical": None,
    "envelope": {"name": "polynomial", "exponent": 5},
    "cbf": {"name": "spherical_harmonics"},
    "sbf": {"name": "legendre_outer"},
    "extensive": True,
    "forces_coupled": False,
    "activation": "scaled_silu",
    "quad_interaction": True,
    "atom_edge_interaction": True,
    "edge_atom_interaction": True,
    "atom_interaction": True,
    "scale_basis": False,
    "qint_tags": [1, 2],
    "num_elements": 120,
    "otf_graph": False,
    "scale_file": "/private/scale_files/base.pt",
    "absolute_rbf_cutoff": 12.0,
    "learnable_rbf": False,
    "learnable_rbf_stds": False,
    "unique_basis_per_layer": False,
    "dropout": None,
    "edge_dropout": 0.1,
}

#: Å, and neighbours of the lists main, mixed, close and pairs; with the first two nothing is cut off.
CUTOFF = 12.0
LISTS = {"all": (60, 20, 5, 300), "few": (7, 5, 3, 12)}

#: Hidden layers of the head.
HEAD_LAYERS = 2

#: eV, of elements, which upstream's head adds.
SHIFTS = {"H": -1.25, "C": -7.5, "O": -3.0}


def tensors(layout):
    """Single-precision values of tensors, name → shape, that differ from each other."""
    return {
        name: _values(name.replace("seq_energy_pre", "layers"), tuple(shape)) for name, shape in layout.items()
    }


def _values(name, shape):
    if name.endswith("rbf.offset"):
        return torch.linspace(0.0, 1.0, shape[0])
    if name.endswith("rbf.temps"):
        return torch.full(shape, 0.5 * (shape[0] - 1) ** 2)
    numbers = torch.from_numpy(np.random.default_rng(zlib.crc32(name.encode())).random(shape))
    if not shape:  # scales
        return (0.7 + numbers).float()
    if name.endswith("embedding.weight"):
        return (2.0 * numbers - 1.0).float()
    inputs = shape[0] if len(shape) == 3 else shape[-1]
    return ((2.0 * numbers - 1.0) * (3.0 / inputs) ** 0.5).float()


def head_layout(atom):
    """Of the head, as upstream calls it."""
    layout = {}
    for layer in range(HEAD_LAYERS):
        layout |= {f"out_mlp_node.{2 * layer}.weight": (atom, atom), f"out_mlp_node.{2 * layer}.bias": (atom,)}
    return layout | {f"out_mlp_node.{2 * HEAD_LAYERS}.weight": (1, atom)}


def structures():
    """A molecule, a liquid's box, and a skewed cell; no two distances of an atom are alike."""
    rng = np.random.default_rng(5)
    cell = np.array([[5.3, 0.2, 0.1], [1.4, 5.6, -0.3], [-0.8, 0.9, 6.1]])
    places = np.array([[0.02, 0.03, 0.0], [0.27, 0.24, 0.1], [0.6, 0.1, 0.55], [0.15, 0.7, 0.62]])
    crystal = Atoms("COHO", scaled_positions=places, cell=cell, pbc=True)
    molecule = Atoms(
        "C2OH3",
        [(0, 0, 0), (1.5, 0.1, 0), (2.0, 1.4, 0.2), (2.1, 1.7, 1.1), (-0.4, 1.0, 0.1), (-0.5, -0.5, 0.8)],
    )
    water = Atoms("OHH", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)])
    liquid = Atoms(cell=[7.4, 7.4, 3.7], pbc=True)
    for site in np.ndindex(2, 2, 1):
        one = water.copy()
        one.rotate(float(rng.uniform(0, 360)), rng.standard_normal(3))
        one.positions += 3.7 * np.array(site) + rng.uniform(-0.2, 0.2, 3)
        liquid += one
    return {"crystal": crystal, "molecule": molecule, "liquid": liquid}
