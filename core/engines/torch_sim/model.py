"""A potential as a model of torch-sim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, final

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from halocline.devices import device_there
from halocline.errors import HaloclineError, UsageError
from halocline.evaluator.result import Result
from halocline.graph import Nearest
from halocline.graph.rules import single_rules
from halocline.model.condition import check_head
from halocline.potential.many import outcomes
from halocline.potential.potential import DEFAULT_DTYPE, Potential

if TYPE_CHECKING:
    from halocline.program.replacement import Replacement

try:
    from torch_sim.models.interface import ModelInterface
    from torch_sim.state import SimState
except ImportError as error:
    raise UsageError(
        "torch-sim is not installed, or cannot be imported here: pip install 'halocline[torch-sim]'"
    ) from error

#: Of positions, energies, forces and stress, whatever the network computes in.
DTYPE: Final = torch.float64


@final
class HaloclineModel(ModelInterface):  # type: ignore[misc]
    """Energies, forces and stress of the structures of a state, together as `Potential.map` evaluates them.

    Neighbours are searched anew at every call. States and results are float64.

    Args:
        potential: the model.
        backend: see `Potential.calculator`, as all that follow.
        dtype: of the network: ``float32`` or ``float64``.
        device: where the network is evaluated.
        partition: of single structures.
        halo: of their parts.
        memory: what evaluations may take on the CPU.
        head: that is to answer.
        compress: let tables take the place of radial functions.
        stress: whether stress is computed. It is refused for structures that are not periodic in all directions.
        errors: ``raise`` those of structures that cannot be evaluated; or ``keep`` them in `results`, while the
            numbers of such a structure are NaN.

    Attributes:
        potential: the model.
        head: that answers.
        results: of the structures of the last state, in their order: a `Result` each, or the error that is kept.

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
        partition: str = "none",
        halo: str = "auto",
        memory: str | None = None,
        head: str | None = None,
        compress: bool = False,
        stress: bool = True,
        errors: Literal["raise", "keep"] = "raise",
    ) -> None:
        super().__init__()
        self.potential = potential
        self.results: list[Result | HaloclineError] = []
        check_head(potential.backbone.conditions, head)
        self.head, self._keep_errors = head, errors == "keep"
        self._evaluator = potential.evaluator(backend, dtype, device, partition, halo, memory, compress)
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
        self.results = self._evaluated(state)
        counts = torch.bincount(state.system_idx, minlength=state.n_systems).tolist()
        forces = [
            result.forces if isinstance(result, Result) else np.full((count, 3), np.nan)
            for result, count in zip(self.results, counts, strict=True)
        ]
        found = {
            "energy": self._tensor([each.energy if isinstance(each, Result) else np.nan for each in self.results]),
            "forces": self._tensor(np.concatenate(forces)),
        }
        if self._compute_stress:
            found["stress"] = self._tensor(np.stack([_stress(each) for each in self.results]))
        return found

    @property
    def replaced(self) -> tuple[Replacement, ...]:
        """Stages of the model that kernels have taken the place of."""
        return self._evaluator.replaced

    def close(self) -> None:
        """End what evaluations have left, such as ranks; the next one starts anew."""
        self._evaluator.close()

    def _evaluated(self, state: SimState) -> list[Result | HaloclineError]:
        found: list[Result | HaloclineError] = []
        for place, outcome in enumerate(
            outcomes(self.potential, self._evaluator, structures_of(state), self.head)
        ):
            if isinstance(outcome, Result):
                self.potential.say_outside(outcome)
            elif not self._keep_errors:
                raise type(outcome)(f"Structure {place}: {outcome}") from outcome
            found.append(outcome)
        return found

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=DTYPE, device=self._device)


def _stress(result: Result | HaloclineError) -> Any:
    """(3, 3); NaN where there is no result.

    Raises:
        UsageError: there is a result, and it has none.
    """
    if not isinstance(result, Result):
        return np.full((3, 3), np.nan)
    if result.stress is None:
        raise UsageError(
            "Stress is wanted of a structure that is not periodic in all directions, or of a model that "
            "does not say it; make the model with stress=False."
        )
    return result.stress


def structures_of(state: SimState) -> Iterator[Atoms]:
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
