"""Relax atoms, and the cell if asked to, with ASE's optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from halocline.appended import EMPTY, AppendedFile
from halocline.dynamics.goal import Goal
from halocline.dynamics.guards import why_failed
from halocline.dynamics.records import frame_bytes, row_bytes
from halocline.dynamics.step_record import static_pressure
from halocline.errors import DynamicsError, StructureError, UsageError
from halocline.structures.constraints import warn_of_unwritable

#: FIRE: Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006). LBFGS, BFGS: quasi-Newton, limited and full memory.
_OPTIMISERS: dict[str, type[Optimizer]] = {"fire": FIRE, "lbfgs": LBFGS, "bfgs": BFGS}
#: The columns of the log; the last two are empty unless the structure is periodic in three directions,
#: and the pressure also where the calculator has no stress.
RELAXATION_COLUMNS = ("step", "energy_eV", "fmax_eV_per_A", "pressure_GPa", "volume_A3")


@final
@dataclass(frozen=True, slots=True)
class RelaxationStep:
    """One step of a relaxation.

    Attributes:
        step: number of the step; 0 is the start.
        energy: eV.
        fmax: eV/Å, the number that is compared with the goal.
        pressure: GPa, without kinetic part; None unless periodic in three directions, and without a stress.
        volume: Å³; None unless periodic in three directions.
        converged: whether the goal is reached.
    """

    step: int
    energy: float
    fmax: float
    pressure: float | None
    volume: float | None
    converged: bool

    def row(self) -> list[str]:
        """The fields of a line of the log; floats keep every digit, None is empty."""
        values = (self.energy, self.fmax, self.pressure, self.volume)
        return [str(self.step)] + ["" if value is None else repr(float(value)) for value in values]


def relax(
    atoms: Atoms,
    calculator: BaseCalculator,
    goal: Goal,
    *,
    path: Path,
    log: Path,
    on_step: Callable[[RelaxationStep], None] = lambda progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> tuple[Atoms, RelaxationStep]:
    """Relax a structure and record every step.

    Args:
        atoms: the start; it is not changed, and its constraints are kept.
        calculator: any ASE calculator.
        goal: what is relaxed, how, and how far.
        path: file of the frames, extended XYZ; replaced.
        log: file of the numbers, CSV; replaced.
        on_step: called with every step.
        interrupted: asked after every step; when true, the relaxation ends.

    Returns:
        The structure at the last step, with its calculator, and that step; see `RelaxationStep.converged`.

    Raises:
        DynamicsError: the calculator failed, gave numbers that are not finite, or a file cannot be written.
        StructureError: the structure cannot be evaluated, or has no cell to relax.
        UsageError: the cell is to relax, and the stress is no derivative of the energy.
    """
    if goal.cell and not atoms.pbc.all():
        raise StructureError("Only the cell of a structure that is periodic in all three directions can relax.")
    if goal.cell and not getattr(calculator, "derives_stress", True):
        raise UsageError(
            "The model has no stress, or one that is no derivative of its energy: the cell cannot relax with it."
        )
    atoms = atoms.copy()
    atoms.calc = calculator
    atoms.get_forces()  # a structure that cannot be evaluated shows here, before any file is touched
    warn_of_unwritable(atoms)
    with ExitStack() as stack:
        frames = stack.enter_context(AppendedFile(path, EMPTY, error_class=DynamicsError))
        rows = stack.enter_context(AppendedFile(log, EMPTY, error_class=DynamicsError))
        rows.append(row_bytes(RELAXATION_COLUMNS))
        for progress in _steps(atoms, goal):
            rows.append(row_bytes(progress.row()))
            frames.append(frame_bytes(atoms, step=progress.step))
            on_step(progress)
            if interrupted():
                break
    return atoms, progress


def _steps(atoms: Atoms, goal: Goal) -> Iterator[RelaxationStep]:
    """Step until converged or out of steps; raise where going on makes no sense."""
    target: Any = atoms
    if goal.cell:
        pressure = goal.pressure * units.GPa
        target = FrechetCellFilter(atoms, scalar_pressure=pressure, hydrostatic_strain=goal.hydrostatic)
    optimiser = _OPTIMISERS[goal.optimiser](target, logfile=None)
    walk = optimiser.irun(fmax=goal.fmax, steps=goal.max_steps)
    while True:
        try:
            converged = next(walk)
            progress = _measure(atoms, target, optimiser.nsteps, bool(converged))
        except StopIteration:
            return
        except Exception as error:  # whatever a calculator may raise: the forces of this step do not exist
            raise _stopped(optimiser.nsteps, why_failed(atoms, error)) from error
        if not np.isfinite([progress.energy, progress.fmax, progress.pressure or 0.0]).all():
            found = f"energy {progress.energy} eV, largest force {progress.fmax} eV/Å"
            raise _stopped(progress.step, f"{found}, pressure {progress.pressure} GPa")
        yield progress


def _measure(atoms: Atoms, target: Any, step: int, converged: bool) -> RelaxationStep:
    periodic = bool(atoms.pbc.all())
    return RelaxationStep(
        step=step,
        energy=float(atoms.get_potential_energy()),
        fmax=float(np.linalg.norm(target.get_forces(), axis=1).max()),
        pressure=static_pressure(atoms) if periodic else None,
        volume=atoms.get_volume() if periodic else None,
        converged=converged,
    )


def _stopped(step: int, reason: str) -> DynamicsError:
    return DynamicsError(f"The relaxation stopped near step {step}: {reason}. All steps before it are kept.")
