"""Steps of mace-torch, plain or with one of the kernels that it can use on GPUs. Options: accelerator, dtype."""

from __future__ import annotations

import os
from typing import Any

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # e3nn 0.4.4 keeps constants in a pickle

import torch
from mace.calculators import MACECalculator
from serve import Made, serve

#: What `MACECalculator` is told, by the option.
ACCELERATORS = {"": {}, "cuequivariance": {"enable_cueq": True}, "openequivariance": {"enable_oeq": True}}


def make(asked: dict[str, Any]) -> Made:
    """Load a pickled model."""
    torch.set_num_threads(asked["threads"])
    calculator = MACECalculator(
        model_paths=asked["model"],
        device=asked["device"],
        default_dtype=asked["options"].get("dtype", "float32"),
        **ACCELERATORS[asked["options"].get("accelerator", "")],
    )
    # It searches neighbours at every step.
    return calculator, lambda: {"cutoff": float(calculator.r_max), "skin": 0.0}


if __name__ == "__main__":
    serve(make, ["mace-torch", "e3nn", "torch", "matscipy", "numpy", "ase"])
