"""What MatGL says of its published TensorNets; in its environment, see `oracles/tensornet/README.md`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import matgl
from ase import Atoms
from oracles.tensornet.matgl_commit import evaluate

#: Our names → the folders of upstream's.
MODELS = {
    "tensornet-matpes-pbe": "TensorNet-MatPES-PBE-v2025.1-PES",
    "tensornet-matpes-r2scan": "TensorNet-MatPES-r2SCAN-v2025.1-PES",
}


def answers(name: str) -> dict[str, Callable[[Atoms], dict]]:
    """Model → function of a structure, in float64; folders are looked for in the one that MATGL_MODELS names."""
    potential = matgl.load_model(Path(os.environ["MATGL_MODELS"]) / MODELS[name]).double().eval()
    assert float(potential.data_mean) == 0.0
    return {name: lambda atoms: evaluate(potential, atoms)}
