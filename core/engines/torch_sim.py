"""A potential as a model of torch-sim, which moves and relaxes many structures at once.

Needs torch-sim: ``pip install 'halocline[torch-sim]'``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypedDict, cast, final

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from halocline.devices import device_there
from halocline.errors import UsageError
from halocline.evaluator.result import Result
from halocline.graph import Nearest
from halocline.graph.rules import single_rules
from halocline.potential.potential import DEFAULT_DTYPE, Potential

try:
    from torch_sim.models.interface import ModelInterface
    from torch_sim.state import SimState
except ImportError as error:
    raise UsageError(
        "torch-sim is not installed, or cannot be imported here: pip install 'halocline[torch-sim]'"
    ) from error

#: Of positions, energies, forces and stress, whatever the network computes in.
DTYPE: Final = torch.float64


class _Options(TypedDict):
    backend: str
    dtype: str
    device: str
    head: str | None
    compress: bool


@final
class HaloclineModel(ModelInterface):  # type: ignore[misc]
    """Energies, forces and stress of the structures of a state, together as `Potential.map` evaluates them.

    Neighbours are searched anew at every call. States and results are float64.

    Args:
        potential: the model.
        backend: see `Potential.calculator`, as all that follow.
        dtype: of the network: ``float32`` or ``float64``.
        device: where the network is evaluated.
        head: that is to answer.
        compress: let tables take the place of radial functions.
        stress: whether stress is computed. It is refused for structures that are not periodic in all directions.

    Raises:
        UsageError: there is no such device, or the model says no stress.

    Example:
        >>> import halocline, torch_sim
        >>> from halocline.engines.torch_sim import HaloclineModel
        >>> model = HaloclineModel(halocline.load("7net-0"))
        >>> relaxed = torch_sim.optimize(crystals, model, optimizer=torch_sim.optimizers.fire)
    """

    def __init__(
        self,
        potential: Potential,
        *,
        backend: str = "torch",
        dtype: str = DEFAULT_DTYPE,
        device: str = "cpu",
        head: str | None = None,
        compress: bool = False,
        stress: bool = True,
    ) -> None:
        super().__init__()
        self.potential = potential
        self._options: _Options = {
            "backend": backend,
            "dtype": dtype,
            "device": device,
            "head": head,
            "compress": compress,
        }
        self._device = torch.device(device_there(device))
        self._dtype, self._compute_forces, self._compute_stress = DTYPE, True, stress
        ranked = any(isinstance(rule, Nearest) for rule in single_rules(potential.backbone.neighbours))
        self._memory_scales_with = "n_atoms" if ranked else "n_atoms_x_density"

    def forward(self, state: SimState | dict[str, Any], **_: object) -> dict[str, Tensor]:
        """Evaluate a state.

        Args:
            state: of torch-sim, or a dictionary of its attributes.

        Returns:
            ``energy`` (structures,) in eV, ``forces`` (atoms, 3) in eV/Å and, unless it is not wanted, ``stress``
            (structures, 3, 3) in eV/Å³, tension positive.

        Raises:
            StructureError: a structure cannot be evaluated; says which, counted from 0.
            UsageError: stress is wanted of one that is not periodic, or of a model that does not say it.
        """
        state = SimState(**state) if isinstance(state, dict) else state
        # Errors are raised and not among the results, as `map` does by default.
        results = cast("list[Result]", list(self.potential.map(_structures(state), **self._options)))
        found = {
            "energy": self._tensor([result.energy for result in results]),
            "forces": self._tensor(np.concatenate([result.forces for result in results])),
        }
        if self._compute_stress:
            stresses = [result.stress for result in results if result.stress is not None]
            if len(stresses) < len(results):
                raise UsageError(
                    "Stress is wanted of a structure that is not periodic in all directions, or of a model that "
                    "does not say it; make the model with stress=False."
                )
            found["stress"] = self._tensor(np.stack(stresses))
        return found

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=DTYPE, device=self._device)


def _structures(state: SimState) -> Iterator[Atoms]:
    """Those of a state, in its order, whose atoms lie one after another."""
    counts = torch.bincount(state.system_idx, minlength=state.n_systems).tolist()
    periodic = state.pbc.tolist() if isinstance(state.pbc, Tensor) else bool(state.pbc)
    numbers = state.atomic_numbers.detach().cpu().numpy()
    positions = state.positions.detach().cpu().double().numpy()
    cells = state.row_vector_cell.detach().cpu().double().numpy()
    first = 0
    for count, cell in zip(counts, cells, strict=True):
        atoms = slice(first, first + count)
        yield Atoms(numbers[atoms], positions[atoms], cell=cell, pbc=periodic)
        first += count
