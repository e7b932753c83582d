"""Configurations of the published models, with few channels; and which version wrote files like them."""

from __future__ import annotations

from typing import Any

_AGNOSTIC, _RESIDUAL = "RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock"
_DENSITY, _DENSITY_RESIDUAL = (
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
)
_MP_0 = {"first": _RESIDUAL, "later": _RESIDUAL, "cutoff": 6.0, "bessels": 10}
_REPULSIVE = {"distance_transform": "Agnesi", "pair_repulsion": True}
_MP_0B = {"first": _AGNOSTIC, "later": _RESIDUAL, "cutoff": 6.0, "bessels": 8} | _REPULSIVE
_DENSE = {"first": _DENSITY, "later": _DENSITY_RESIDUAL, "cutoff": 6.0, "bessels": 10} | _REPULSIVE
_OFF23 = {"first": _AGNOSTIC, "later": _RESIDUAL, "cutoff": 5.0, "bessels": 8}

#: Name → version of mace-torch, and arguments beside those that all have: two layers, harmonics and products up to
#: degree and power 3. Cutoff in Å; ``hidden`` is the degree L of the features between layers.
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "mp-0-small": ("0.3.3", _MP_0 | {"hidden": 0}),
    "mp-0-medium": ("0.3.3", _MP_0 | {"hidden": 1}),
    "mp-0-large": ("0.3.3", _MP_0 | {"hidden": 2}),
    "off23-small": ("0.3.3", _OFF23 | {"hidden": 0, "cutoff": 4.5}),
    "off23-medium": ("0.3.6", _OFF23 | {"hidden": 1}),
    "off23-large": ("0.3.6", _OFF23 | {"hidden": 2}),
    "mp-0b-small": ("0.3.6", _MP_0B | {"hidden": 0}),
    "mp-0b-medium": ("0.3.6", _MP_0B | {"hidden": 1}),
    "mp-0b2-small": ("0.3.10", _DENSE | {"hidden": 0, "cutoff": 5.0, "bessels": 8}),
    "mp-0b2-medium": ("0.3.10", _DENSE | {"hidden": 1, "cutoff": 5.0, "bessels": 8}),
    "mp-0b2-large": ("0.3.10", _DENSE | {"hidden": 2, "cutoff": 5.0, "bessels": 8}),
    "mp-0b3-medium": ("0.3.10", _DENSE | {"hidden": 1, "heads": ("default",)}),
    "mpa-0-medium": ("0.3.13", _DENSE | {"hidden": 1, "heads": ("default",)}),
    "omat-0-small": ("0.3.13", _DENSE | {"hidden": 0, "heads": ("default",)}),
    "matpes-pbe": ("0.3.16", _DENSE | {"hidden": 1, "heads": ("default",)}),
    "replay": ("0.3.16", _MP_0B | {"hidden": 1, "heads": ("pt_head", "Default")}),
}
