"""The ASE integrators behind the ensembles, and the state of theirs that outlives a restart."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms, FixCom
from ase.md.bussi import Bussi
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from halocline.dynamics.langevin import Langevin
from halocline.dynamics.moving_atoms import MovingAtoms
from halocline.dynamics.settings import Settings
from halocline.errors import StructureError
from halocline.structures.unused import unused_columns

_LOG = logging.getLogger(__name__)

#: Variables of an integrator beyond atoms, step and random numbers that its next step depends on or reports.
#: Forces are not among them: they are a function of the positions alone.
_STATE = {"VelocityVerlet": (), "Bussi": ("transferred_energy",), "Langevin": ("p_eps", "force_eps")}


def prepare(atoms: Atoms, settings: Settings, rng: np.random.Generator) -> Atoms:
    """Copy a structure and give it constraints and velocities for a run.

    Velocities that the structure brings are kept; without any, they are drawn from the Maxwell–Boltzmann
    distribution. Where the integrator conserves momentum (nve, and nvt with bussi) the centre of mass
    is held still, so that N atoms have 3N - 3 degrees of freedom.

    Raises:
        StructureError: constraints that the integrator cannot keep, or npt without a fully periodic cell.
    """
    _check_constraints(atoms, settings)
    if not atoms.get_number_of_degrees_of_freedom():
        raise StructureError("The structure has no atom that is free to move.")
    if settings.ensemble == "npt" and not atoms.pbc.all():
        raise StructureError("The npt ensemble needs a structure that is periodic in all three directions.")
    atoms = MovingAtoms.of(atoms)
    if _conserves_momentum(settings) and not atoms.constraints and len(atoms) > 1:
        atoms.constraints = [FixCom()]
    momenta = atoms.arrays.get("momenta")
    if momenta is not None and momenta.any():
        atoms.set_momenta(momenta)  # once more, under the constraint
    else:
        for sentence in unused_columns(atoms):
            _LOG.warning(sentence)
        thermalize_momenta(atoms, settings.temperature, rng=rng)
    return atoms


def build(atoms: Atoms, settings: Settings, rng: np.random.Generator) -> MolecularDynamics:
    """Make the integrator of an ensemble for atoms that have a calculator.

    * nve: velocity Verlet.
    * nvt, bussi: stochastic velocity rescaling, Bussi et al., J. Chem. Phys. 126, 014101 (2007).
    * nvt, langevin: BAOAB splitting, Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013).
    * npt: the same with a Langevin–Hoover barostat, Quigley and Probert, J. Chem. Phys. 120, 11432 (2004).
    """
    timestep = settings.timestep * units.fs
    relaxation = settings.relaxation_time * units.fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    if settings.ensemble == "npt":
        return _langevin_hoover(atoms, settings, rng)
    if settings.thermostat == "bussi":
        return Bussi(atoms, timestep, settings.temperature, relaxation, rng=rng)
    return Langevin(  # type: ignore[no-untyped-call]
        atoms, timestep, temperature_K=settings.temperature, T_tau=relaxation, hydrostatic=True, rng=rng
    )


def step(integrator: MolecularDynamics, forces: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Advance by one step, by itself: ASE's loop asks for the forces again after each, and looks for observers.

    Args:
        integrator: from `build`.
        forces: what the step before has returned, where it was the last thing that was done with the atoms.

    Returns:
        Forces, if the integrator wants to be given them.
    """
    each: Any = integrator  # every one of them has steps, their base in ASE has none
    found: NDArray[np.float64] | None = each.step(forces) if isinstance(each, VelocityVerlet) else each.step()
    integrator.nsteps += 1
    return found


def get_state(integrator: MolecularDynamics) -> dict[str, float]:
    """Read the variables that `set_state` restores."""
    names = _STATE[type(integrator).__name__]
    return {name: float(getattr(integrator, name)) for name in names if hasattr(integrator, name)}


def set_state(integrator: MolecularDynamics, state: dict[str, Any]) -> None:
    """Restore the variables that `get_state` read."""
    for name, value in state.items():
        setattr(integrator, name, np.float64(value))  # NumPy's and Python's powers round differently


def set_bath_temperature(integrator: MolecularDynamics, kelvin: float) -> None:
    """Give the bath of an nvt or npt integrator a temperature, in K."""
    if isinstance(integrator, Bussi):  # its constructor is the only other place that knows
        integrator.temp = kelvin * units.kB
        integrator.target_kinetic_energy = 0.5 * integrator.temp * integrator.ndof
    elif isinstance(integrator, Langevin):
        integrator.set_temperature(kelvin)  # type: ignore[no-untyped-call]


def _langevin_hoover(atoms: Atoms, settings: Settings, rng: np.random.Generator) -> Langevin:
    """Make the npt integrator; the barostat's mass is (3N + 3) k T τ², Martyna et al., 10.1063/1.467468.

    Where the temperature changes, the mass is that of the highest and stays.
    """
    barostat_time = settings.barostat_time * units.fs
    degrees = atoms.get_number_of_degrees_of_freedom() + 3
    return Langevin(  # type: ignore[no-untyped-call]
        atoms,
        settings.timestep * units.fs,
        temperature_K=settings.temperature,
        T_tau=settings.relaxation_time * units.fs,
        externalstress=-settings.pressure * units.GPa,
        hydrostatic=True,
        P_tau=barostat_time,
        P_mass=degrees * units.kB * settings.highest_temperature * barostat_time**2,
        rng=rng,
    )


def _conserves_momentum(settings: Settings) -> bool:
    return settings.ensemble == "nve" or (settings.ensemble == "nvt" and settings.thermostat == "bussi")


def _check_constraints(atoms: Atoms, settings: Settings) -> None:
    """Refuse constraints that would be broken silently."""
    names = {type(constraint).__name__ for constraint in atoms.constraints}
    unknown = sorted(names - {FixAtoms.__name__})
    if unknown:
        raise StructureError(f"The structure carries the constraint {unknown[0]}; dynamics keeps only FixAtoms.")
    if names and settings.ensemble == "npt":
        raise StructureError("The structure has fixed atoms, which the npt ensemble cannot keep; use nvt or nve.")
