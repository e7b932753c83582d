"""Writes a MACE of mace-torch with weights from a seed; run by an interpreter with mace-torch in it.

The argument is a JSON object: file, elements, channels, degree, layers, cutoff.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # e3nn 0.4.4 keeps constants in a pickle

import numpy as np
import torch
from e3nn import o3
from mace import modules


def made(asked: dict[str, Any]) -> torch.nn.Module:
    """A model in the configuration of the foundation models MP-0 and MPA-0."""
    torch.manual_seed(0)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    degrees = range(asked["degree"] + 1)
    return modules.ScaleShiftMACE(
        r_max=asked["cutoff"],
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=asked["layers"],
        num_elements=len(asked["elements"]),
        hidden_irreps=o3.Irreps("+".join(f"{asked['channels']}x{degree}{'eo'[degree % 2]}" for degree in degrees)),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(asked["elements"])),
        avg_num_neighbors=50.0,
        atomic_numbers=asked["elements"],
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def main() -> None:
    """Make it in float32, as published models are."""
    asked = json.loads(sys.argv[1])
    torch.set_default_dtype(torch.float32)
    torch.save(made(asked), asked["file"])


if __name__ == "__main__":
    main()
