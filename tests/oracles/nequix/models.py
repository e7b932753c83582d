"""Models and structures of the comparison with Nequix, for both environments."""

from __future__ import annotations

from oracles.sevennet.models import structures

_COMMON = {
    "atomic_numbers": [8, 1, 6],  # upstream counts them in the order of their numbers
    "cutoff": 3.5,
    "radial_basis_size": 4,
    "radial_mlp_size": 6,
    "radial_polynomial_p": 6.0,
    "mlp_init_scale": 4.0,
    "avg_n_neighbors": 5.0,
    "index_weights": False,
    "scale": 0.8,
    "shift": 0.3,
    "learning_rate": 0.01,
}

#: With the norm and without; irreps that differ in channels; harmonics beyond the degrees of features.
MODELS = {
    "normed": _COMMON
    | {
        "hidden_irreps": "4x0e + 3x1o + 2x2e",
        "lmax": 2,
        "n_layers": 3,
        "radial_mlp_layers": 2,
        "layer_norm": True,
    },
    "bare": _COMMON
    | {
        "hidden_irreps": "3x0e + 4x1o",
        "lmax": 3,
        "n_layers": 2,
        "radial_mlp_layers": 1,
        "layer_norm": False,
    },
}

#: Published models, and structures of the zoo's index for which it has their energies.
PUBLISHED = ("nequix-mp-1", "nequix-oam-1", "nequix-oam-1-pft")
REFERENCES = ("Si, one cell", "CsCl, strained", "BaTiO3, rattled")

__all__ = ["MODELS", "PUBLISHED", "REFERENCES", "structures"]
