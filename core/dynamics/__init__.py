"""Molecular dynamics and relaxation with ASE's integrators and optimisers, recorded so that nothing is lost."""

from halocline.dynamics.engine import Outcome, run_dynamics
from halocline.dynamics.output import Output
from halocline.dynamics.sample import COLUMNS, Sample
from halocline.dynamics.settings import Settings

__all__ = ["COLUMNS", "Outcome", "Output", "Sample", "Settings", "run_dynamics"]
