"""Models that are compared: one of every family of blocks and every degree, small, with weights from a seed."""

from __future__ import annotations

#: Name → arguments of `mace.modules.ScaleShiftMACE` that differ from `COMMON`.
MODELS = {
    "residual-L0": {"hidden": 0},
    "residual-L1": {"hidden": 1},
    "residual-L2": {"hidden": 2, "correlation": 2},
    "agnostic-L1": {"hidden": 1, "first": "RealAgnosticInteractionBlock", "correlation": 2},
    "agnostic-everywhere-L0": {
        "hidden": 0,
        "first": "RealAgnosticInteractionBlock",
        "later": "RealAgnosticInteractionBlock",
        "max_ell": 2,
    },
    "density-L1": {
        "hidden": 1,
        "first": "RealAgnosticDensityInteractionBlock",
        "later": "RealAgnosticDensityResidualInteractionBlock",
        "pair_repulsion": True,
        "distance_transform": "Agnesi",
        "layers": 3,
        "correlation": 2,
    },
    "repulsion-L0": {"hidden": 0, "pair_repulsion": True, "max_ell": 1, "correlation": 1},
    "agnesi-L2": {"hidden": 2, "distance_transform": "Agnesi", "max_ell": 2, "correlation": 3},
    "one-layer": {"hidden": 1, "layers": 1, "max_ell": 2},
    "heads-residual-L1": {"hidden": 1, "heads": ("PBE", "Default", "r2SCAN"), "max_ell": 2, "correlation": 2},
    "heads-density-L0": {
        "hidden": 0,
        "first": "RealAgnosticDensityInteractionBlock",
        "later": "RealAgnosticDensityResidualInteractionBlock",
        "pair_repulsion": True,
        "distance_transform": "Agnesi",
        "max_ell": 1,
        "heads": ("omat_pbe", "spice_wb97m"),
        "layers": 3,
        "correlation": 2,
    },
    "heads-one-layer": {"hidden": 0, "layers": 1, "max_ell": 1, "heads": ("a", "b"), "correlation": 2},
}

COMMON = {
    "first": "RealAgnosticResidualInteractionBlock",
    "later": "RealAgnosticResidualInteractionBlock",
    "layers": 2,
    "max_ell": 3,
    "correlation": 3,
    "pair_repulsion": False,
    "distance_transform": "None",
    "heads": ("Default",),
}

NUMBERS = (1, 6, 8)
CHANNELS, CUTOFF, BESSELS, RADIAL, READOUT, POWER = 4, 3.5, 5, (6, 7), 3, 5
ENERGIES, SCALE, SHIFT, NEIGHBOURS = (-1.25, -38.5, -75.75), 0.8, -0.125, 9.5
#: Of each head what isolated atoms have; methods may differ by any amount.
HEAD_ENERGIES = (ENERGIES, (-13.5, -1030.5, -2043.875), (-0.25, -7.5, -3.125))
HEAD_SCALES, HEAD_SHIFTS = (SCALE, 1.5, 0.625), (SHIFT, 0.25, -0.5)
SEED = 20261127


def arguments(name: str) -> dict:
    """All arguments of one model."""
    return COMMON | MODELS[name]
