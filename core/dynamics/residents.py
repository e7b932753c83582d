"""What a run asks of processes that hold its atoms and move them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from halocline.dynamics.settings import Settings
from halocline.graph import Contacts
from halocline.partition import Division
from halocline.program.replacement import Replacement


@final
@dataclass(frozen=True, slots=True)
class StepSums:
    """One step, summed over all atoms.

    Attributes:
        step: its number.
        potential: eV, without reference energies.
        kinetic: eV.
        virial: (3, 3) eV, derivative of the energy by a uniform strain, or what the model says that it is; None of
            models that have none.
        cell: (3, 3) Å.
        contacts: how near atoms come; they go by their ids.
        farthest: Å, the longest way of an atom since the step before.
        farthest_atom: whose it is.
        not_finite: what is infinite or none, such as ``the force of atom 3``; None if everything is finite.
    """

    step: int
    potential: float
    kinetic: float
    virial: NDArray[np.float64] | None
    cell: NDArray[np.float64]
    contacts: Contacts
    farthest: float
    farthest_atom: int
    not_finite: str | None = None


@final
@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins, or goes on.

    Attributes:
        atoms: N of them, with momenta.
        conditions: name → (N,), what the model is told; see `halocline.graph.Structure`.
        settings: ensemble, integrator, seed.
        free: degrees of freedom.
        step: its number.
        integrator: variables that its next step depends on, by ASE's names; empty at first.
        placing: how atoms were held, as `Everything.placing` has it; None where they never were.
    """

    atoms: Atoms
    conditions: Mapping[str, NDArray[Any]]
    settings: Settings
    free: int
    step: int
    integrator: Mapping[str, float]
    placing: Mapping[str, NDArray[Any]] | None


@final
@dataclass(frozen=True, slots=True)
class Everything:
    """All that the processes hold, in the order of the structure's atoms.

    Attributes:
        positions: (N, 3) Å.
        momenta: (N, 3) √(amu·eV).
        forces: (N, 3) eV/Å.
        energies: (N,) eV, without reference energies.
        cell: (3, 3) Å.
        integrator: see `Start`.
        placing: which process holds what, and since which positions: with it, a run goes on to the bit.
    """

    positions: NDArray[np.float64]
    momenta: NDArray[np.float64]
    forces: NDArray[np.float64]
    energies: NDArray[np.float64]
    cell: NDArray[np.float64]
    integrator: dict[str, float]
    placing: dict[str, NDArray[Any]]


class Residents(ABC):
    """Processes that hold atoms. What they are asked costs no more for more atoms, but for `settle` and `gather`.

    After an error they hold nothing.
    """

    @abstractmethod
    def settle(self, start: Start) -> StepSums:
        """Give them the atoms; returns the sums of that step.

        Raises:
            HaloclineError: the structure cannot be evaluated, or a process was lost.
        """

    @abstractmethod
    def advance(self, steps: int) -> Sequence[StepSums]:
        """Move on by so many steps, or up to the first in which something is not finite.

        Raises:
            HaloclineError: likewise.
        """

    @abstractmethod
    def gather(self) -> Everything:
        """Take copies of what they hold.

        Raises:
            DistributedError: a process was lost.
        """


class Houses(ABC):
    """An evaluator whose processes can hold the atoms of a run.

    Attributes:
        replaced: stages of the model that kernels have taken the place of.
        restarted: whether all processes, this one among them, were started anew after a failure.
    """

    replaced: tuple[Replacement, ...]
    restarted: bool

    @abstractmethod
    def residents(self, division: Division) -> Residents:
        """Its processes, for one run.

        Args:
            division: of the atoms that all of them hold into parts, of which each process evaluates its share one
                after another; a bound on memory is that of each process.

        Raises:
            UsageError: they cannot keep to it.
        """

    @abstractmethod
    def close(self) -> None:
        """End the processes."""
