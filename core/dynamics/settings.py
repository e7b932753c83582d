"""What a molecular-dynamics run samples, in the units of the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, final

from halocline.errors import UsageError, unknown_name

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("langevin", "bussi")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Ensemble, integrator and the intervals at which a run is recorded.

    Attributes:
        ensemble: "nve", "nvt" or "npt" (the cell keeps its shape, its volume fluctuates).
        thermostat: "langevin" or "bussi"; used by "nvt". "npt" always takes Langevin, "nve" none.
        temperature: K; of the bath and of the initial velocities.
        pressure: GPa; used by "npt".
        timestep: fs.
        relaxation_time: fs; of the thermostat. The Langevin friction is its inverse.
        barostat_time: fs; of the barostat.
        seed: seed of the initial velocities and of the thermostat.
        frame_interval: steps between two frames of the trajectory.
        log_interval: steps between two lines of the log.
    """

    ensemble: str = "nvt"
    thermostat: str = "langevin"
    temperature: float = 300.0
    pressure: float = 0.0
    timestep: float = 1.0
    relaxation_time: float = 100.0
    barostat_time: float = 1000.0
    seed: int = 0
    frame_interval: int = 10
    log_interval: int = 1

    def __post_init__(self) -> None:
        if self.ensemble not in ENSEMBLES:
            raise unknown_name("ensemble", self.ensemble, ENSEMBLES)
        if self.thermostat not in THERMOSTATS:
            raise unknown_name("thermostat", self.thermostat, THERMOSTATS)
        if self.ensemble == "npt" and self.thermostat != "langevin":
            raise UsageError("The npt ensemble has its own Langevin thermostat; leave out --thermostat bussi.")
        for name in ("timestep", "relaxation_time", "barostat_time", "frame_interval", "log_interval"):
            _check_at_least(name, getattr(self, name), 0.0, strict=True)
        _check_at_least("temperature", self.temperature, 0.0, strict=self.ensemble != "nve")
        _check_at_least("seed", self.seed, 0.0, strict=False)

    def as_options(self) -> dict[str, Any]:
        """The settings as plain values, to be stored in a checkpoint and compared at a restart."""
        return asdict(self)


def _check_at_least(name: str, value: float, least: float, *, strict: bool) -> None:
    """Refuse a value that is too small; NaN and infinity fail as well."""
    good = least < value < float("inf") if strict else least <= value < float("inf")
    if not good:
        bound = "greater than" if strict else "at least"
        raise UsageError(f"{name.replace('_', ' ')} must be finite and {bound} {least:g}, not {value!r}.")
