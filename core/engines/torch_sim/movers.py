"""torch-sim's integrators and its optimiser, each as two functions of a state: that which begins, and a step.

torch-sim 0.3, the last one for Python 3.11, has factories, which bind a model and numbers and return both. 0.6 has
the functions themselves, and its states bring along the generator of the bath's noise, which is torch's in 0.3.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch_sim import integrators, optimizers

from halocline.engines.torch_sim.model import HaloclineModel

#: Whether torch-sim is of version 0.3.
HAS_FACTORIES: Final = hasattr(integrators, "nvt_langevin")


def verlet(model: HaloclineModel, *, dt: Tensor, kT: Tensor) -> tuple[Any, Any]:  # noqa: N803
    """Velocity Verlet; a step takes ``kT`` and has no use for it.

    Args:
        model: that gives the forces.
        dt: (), time of a step in √(u/eV) Å, as ASE's.
        kT: (), eV.
    """
    if HAS_FACTORIES:
        begin, step = integrators.nve(model, dt=dt, kT=kT)
        return begin, step
    return partial(integrators.nve_init, model=model, kT=kT), partial(integrators.nve_step, model=model, dt=dt)


def langevin(model: HaloclineModel, *, dt: Tensor, kT: Tensor, gamma: Tensor) -> tuple[Any, Any]:  # noqa: N803
    """Langevin dynamics by BAOAB, of noise that follows from torch's random numbers; a step takes its own ``kT``.

    Args:
        model: that gives the forces.
        dt: see `verlet`.
        kT: see `verlet`.
        gamma: (), friction, per time.
    """
    if HAS_FACTORIES:
        begin, step = integrators.nvt_langevin(model, dt=dt, kT=kT, gamma=gamma)
        return begin, step

    def begin_with_noise(state: Any) -> Any:
        state = integrators.nvt_langevin_init(state, model, kT=kT)
        state.rng = int(torch.randint(2**62, ()))  # states have all the same one if none is given
        return state

    return begin_with_noise, partial(integrators.nvt_langevin_step, model=model, dt=dt, gamma=gamma)


def fire(model: HaloclineModel) -> tuple[Any, Any]:
    """FIRE of positions, with the parameters of ASE's."""
    if HAS_FACTORIES:
        begin, step = optimizers.fire(model)
        return begin, step
    return partial(optimizers.fire_init, model=model), partial(optimizers.fire_step, model=model)


def fire_of_cells(model: HaloclineModel, *, hydrostatic: bool, pressure: float) -> tuple[Any, Any]:
    """FIRE of positions and of the logarithm of the cell's deformation, with the parameters of ASE's.

    Args:
        model: that gives forces and stress.
        hydrostatic: whether only the volume changes.
        pressure: on the cell, eV/Å³.
    """
    goal = {"hydrostatic_strain": hydrostatic, "scalar_pressure": pressure}
    if HAS_FACTORIES:
        begin, step = optimizers.frechet_cell_fire(model, **goal)
        return begin, step
    cells = optimizers.cell_filters.CellFilter.frechet
    return partial(optimizers.fire_init, model=model, cell_filter=cells, **goal), partial(
        optimizers.fire_step, model=model
    )
