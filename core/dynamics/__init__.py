"""Molecular dynamics and relaxation with ASE's integrators and optimisers, recorded so that nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halocline.lazy import lazily

if TYPE_CHECKING:
    from halocline.dynamics.engine import DynamicsResult, run_dynamics
    from halocline.dynamics.run_files import RunFiles
    from halocline.dynamics.settings import Settings
    from halocline.dynamics.step_record import COLUMNS, StepRecord
    from halocline.dynamics.watch import Watch

__all__ = ["COLUMNS", "DynamicsResult", "RunFiles", "Settings", "StepRecord", "Watch", "run_dynamics"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "COLUMNS": "halocline.dynamics.step_record",
        "DynamicsResult": "halocline.dynamics.engine",
        "RunFiles": "halocline.dynamics.run_files",
        "Settings": "halocline.dynamics.settings",
        "StepRecord": "halocline.dynamics.step_record",
        "Watch": "halocline.dynamics.watch",
        "run_dynamics": "halocline.dynamics.engine",
    },
)
