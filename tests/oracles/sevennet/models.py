"""Models and structures of the comparison with SevenNet, for both environments."""

from __future__ import annotations

import numpy as np
from ase import Atoms

_COMMON = {
    "version": "0.13.0",
    "chemical_species": ["C", "H", "O"],
    "_number_of_species": 3,
    "_type_map": {6: 0, 1: 1, 8: 2},
    "cutoff": 3.5,
    "channel": 4,
    "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 4},
    "weight_nn_hidden_neurons": [6],
    "is_parity": False,
    "self_connection_type": "linear",
    "shift": [-3.0, -1.0, -2.0],
    "scale": [1.5, 0.5, 2.0],
    "conv_denominator": 4.0,
    "train_shift_scale": False,
}

#: Irreps that differ between layers and channels, couplings of odd sums, both envelopes, harmonics of edges and of
#: directions, weights in the order of versions before 0.11 and after, and modalities.
MODELS = {
    "old": _COMMON
    | {
        "version": "0.9.1",
        "lmax": 2,
        "num_convolution_layer": 3,
        "irreps_manual": ["4x0e", "4x0e+3x1e+2x2e", "4x0e+3x1e+2x2e", "4x0e"],
        "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 2.9},
    },
    "new": _COMMON
    | {
        "lmax": 2,
        "num_convolution_layer": 3,
        "irreps_manual": False,
        "_normalize_sph": True,
        "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 5},
    },
    "heads": _COMMON
    | {
        "lmax": 1,
        "num_convolution_layer": 2,
        "irreps_manual": ["3x0e", "4x0e+2x1e", "4x0e"],
        "_normalize_sph": True,
        "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 6},
        "use_modality": True,
        "_number_of_modalities": 2,
        "_modal_map": {"PBE": 0, "R2SCAN": 1},
        "use_modal_node_embedding": False,
        "use_modal_self_inter_intro": True,
        "use_modal_self_inter_outro": True,
        "use_modal_output_block": True,
        "use_modal_wise_shift": True,
        "use_modal_wise_scale": False,
        "shift": [[-3.0, -1.0, -2.0], [-4.0, -1.5, -2.5]],
    },
}


def structures():
    """A crystal in a skewed cell smaller than the cutoff, and a molecule in a box."""
    rng = np.random.default_rng(3)
    cell = np.diag([3.1, 3.4, 2.9]) + 0.2 * rng.standard_normal((3, 3))
    places = np.array([[0.0, 0.0, 0.0], [0.5, 0.45, 0.1], [0.1, 0.55, 0.5]])
    crystal = Atoms("COH", scaled_positions=places, cell=cell, pbc=True)
    ethanol = Atoms(
        "C2OH", positions=[[0, 0, 0], [1.5, 0.1, 0], [2.0, 1.4, 0.2], [2.1, 1.7, 1.1]], cell=[12.0] * 3
    )
    ethanol.pbc = True
    return {"crystal": crystal, "molecule": ethanol}
