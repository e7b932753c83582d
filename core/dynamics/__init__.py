"""Molecular dynamics and relaxation with ASE's integrators and optimisers, recorded so that nothing is lost."""

from halocline.dynamics.engine import DynamicsResult, run_dynamics
from halocline.dynamics.run_files import RunFiles
from halocline.dynamics.settings import Settings
from halocline.dynamics.step_record import COLUMNS, StepRecord

__all__ = ["COLUMNS", "DynamicsResult", "RunFiles", "Settings", "StepRecord", "run_dynamics"]
