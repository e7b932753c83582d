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
}

COMMON = {
    "first": "RealAgnosticResidualInteractionBlock",
    "later": "RealAgnosticResidualInteractionBlock",
    "layers": 2,
    "max_ell": 3,
    "correlation": 3,
    "pair_repulsion": False,
    "distance_transform": "None",
}

NUMBERS = (1, 6, 8)
CHANNELS, CUTOFF, BESSELS, RADIAL, READOUT, POWER = 4, 3.5, 5, (6, 7), 3, 5
ENERGIES, SCALE, SHIFT, NEIGHBOURS = (-1.25, -38.5, -75.75), 0.8, -0.125, 9.5
SEED = 20261127


def arguments(name: str) -> dict:
    """All arguments of one model."""
    return COMMON | MODELS[name]
