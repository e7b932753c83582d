"""Models and structures of the comparison with MatGL's TensorNet, for both environments."""

from __future__ import annotations

from oracles.sevennet.models import structures

#: Arguments of its constructor: of a small model, with as little as it has of each part.
ARGUMENTS = {
    "element_types": ["H", "O", "C"],
    "units": 4,
    "nblocks": 2,
    "max_n": 3,
    "max_l": 3,
    "cutoff": 3.5,
    "rbf_type": "SphericalBessel",
    "use_smooth": True,
    "activation_type": "swish",
    "equivariance_invariance_group": "O(3)",
    "include_state": False,
    "is_intensive": False,
    "task_type": "regression",
    "ntargets": 1,
}

#: Energies of elements, eV, and what its outputs are multiplied with.
ENERGIES, SCALE = [-1.0, -3.0, -2.0], 1.5

__all__ = ["ARGUMENTS", "ENERGIES", "SCALE", "structures"]
