"""What a molecular-dynamics run samples, in the units of the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, final

from halocline.errors import UsageError, unknown_name
from halocline.typed_table import settle_fields

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("langevin", "bussi")

#: Steps between two checkpoints.
CHECKPOINT_INTERVAL = 500

#: Of the shortest distance in a model's training, below which its forces are no reason to go on. Of labelled
#: frames that were held out of 13 data sets, 1 to 3 % usually lie below the shortest distance of the others, but
#: hardly one below 0.6 of it.
NEAREST = 0.6


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Ensemble, integrator and the intervals at which a run is recorded.

    Attributes:
        ensemble: "nve", "nvt" or "npt" (the cell keeps its shape, its volume fluctuates).
        thermostat: "langevin" or "bussi"; used by "nvt". "npt" always takes Langevin, "nve" none.
        temperature: K; of the bath, at first, and of the initial velocities.
        final_temperature: K; of the bath in the end, where it changes; for "nvt" and "npt".
        ramp_steps: steps from the start of the run over which the bath goes from one to the other, linearly. It
            keeps the second from there on.
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
    final_temperature: float | None = None
    ramp_steps: int | None = None
    pressure: float = 0.0
    timestep: float = 0.5
    relaxation_time: float = 100.0
    barostat_time: float = 1000.0
    seed: int = 0
    frame_interval: int = 10
    log_interval: int = 1

    def __post_init__(self) -> None:
        settle_fields(self)
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
        self._check_ramp()

    @property
    def highest_temperature(self) -> float:
        """K; of the bath, at any step."""
        return max(self.temperature, self.final_temperature or 0.0)

    def bath_temperature(self, step: float) -> float:
        """K; of the bath at a step, which decides the same step whether or not the run was interrupted."""
        if self.final_temperature is None or self.ramp_steps is None:
            return self.temperature
        passed = min(1.0, step / self.ramp_steps)
        return (1.0 - passed) * self.temperature + passed * self.final_temperature

    def _check_ramp(self) -> None:
        if (self.final_temperature is None) != (self.ramp_steps is None):
            raise UsageError("A ramp of temperature needs both a final temperature and a number of steps.")
        if self.final_temperature is None or self.ramp_steps is None:
            return
        if self.ensemble == "nve":
            raise UsageError("The nve ensemble has no bath, so there is no temperature to ramp; use nvt or npt.")
        _check_at_least("final temperature", self.final_temperature, 0.0, strict=True)
        _check_at_least("ramp steps", self.ramp_steps, 0.0, strict=True)

    def as_options(self) -> dict[str, Any]:
        """The settings as plain values, to be stored in a checkpoint and compared at a restart."""
        return asdict(self)


def _check_at_least(name: str, value: float, least: float, *, strict: bool) -> None:
    """Refuse a value that is too small; NaN and infinity fail as well."""
    good = least < value < float("inf") if strict else least <= value < float("inf")
    if not good:
        bound = "greater than" if strict else "at least"
        raise UsageError(f"{name.replace('_', ' ')} must be finite and {bound} {least:g}, not {value!r}.")
