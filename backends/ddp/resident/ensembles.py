"""The integrator of each ensemble."""

from __future__ import annotations

import numpy as np
from ase import units
from numpy.typing import NDArray

from halocline.backends.ddp.resident.barostat import LangevinHoover
from halocline.backends.ddp.resident.integration import Bussi, Integrator, Langevin, Total, VelocityVerlet
from halocline.dynamics.settings import Settings


def build_integrator(settings: Settings, free: int, total: Total, state: NDArray[np.float64]) -> Integrator:
    """The integrator of nve, of nvt with either thermostat, or of npt.

    Args:
        settings: of the run.
        free: degrees of freedom of all atoms.
        total: adds up over ranks.
        state: of the integrator at a step from which the run goes on; empty at its start.
    """
    if settings.ensemble == "nve":
        return VelocityVerlet(settings.timestep * units.fs)
    if settings.ensemble == "npt":
        return LangevinHoover(settings, free, total, state)
    return Bussi(settings, free, total) if settings.thermostat == "bussi" else Langevin(settings)
