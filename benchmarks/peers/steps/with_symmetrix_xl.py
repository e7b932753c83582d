"""Steps of Symmetrix-XL, in its default mode, which compiles for the model."""

from __future__ import annotations

from typing import Any

from serve import Made, serve
from symmetrix import Symmetrix


def make(asked: dict[str, Any]) -> Made:
    """Load a converted model; the environment says how many threads."""
    calculator = Symmetrix(asked["model"], dtype="float32")

    def tell() -> dict[str, Any]:
        return {
            "cutoff": float(calculator.cutoff),
            "skin": calculator.neighbor_skin,
            "compiled": calculator.jit_status,
            "artefact": calculator.jit_artifact_id,
        }

    return calculator, tell


if __name__ == "__main__":
    serve(make, ["symmetrix-xl", "numpy", "ase"])
