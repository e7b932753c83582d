"""Evaluates models whose energy follows from a sum over all atoms: in two runs, whatever divides the structure."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.errors import HaloclineError, NotFiniteError
from halocline.evaluator import Evaluator
from halocline.evaluator.result import Result
from halocline.graph import Structure
from halocline.model.backbone import Backbone
from halocline.model.pooled import POOLED_WEIGHTS, PooledHead


@final
class PooledEvaluator(Evaluator):
    """Adds vectors up, asks the head, and runs the program again with the derivative of its energy.

    Each atom's share of the head's energy is the same, as there is no other division of it. Models with forces of
    their own are run once; what their head says of forces and stress needs all atoms as well.

    Args:
        backbone: with a pooled head, which is copied.
        evaluator: of the program, whole or in parts, here or elsewhere.
    """

    def __init__(self, backbone: Backbone, evaluator: Evaluator) -> None:
        head = copy.deepcopy(backbone.pooled_head)
        assert head is not None
        self._head: PooledHead = head.double().cpu().eval().requires_grad_(False)
        self._evaluator, self._twice = evaluator, backbone.derives_forces
        self.together, self.replaced = evaluator.together, evaluator.replaced

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`."""
        first = self._evaluator.evaluate(self._weighted(structure, np.zeros(self._head.channels)))
        energy, weights = self._energy(first)
        second = self._evaluator.evaluate(self._weighted(structure, weights)) if self._twice else first
        return self._complete(structure, first, second, energy)

    def evaluate_many(self, structures: Sequence[Structure]) -> list[Result | HaloclineError]:
        """See `Evaluator.evaluate_many`."""
        nothing = np.zeros(self._head.channels)
        first = self._evaluator.evaluate_many([self._weighted(each, nothing) for each in structures])
        good = {place: self._energy(found) for place, found in enumerate(first) if isinstance(found, Result)}
        second = dict(zip(good, (first[place] for place in good), strict=True))
        if self._twice:
            weighted = [self._weighted(structures[place], weights) for place, (_, weights) in good.items()]
            second = dict(zip(good, self._evaluator.evaluate_many(weighted), strict=True))
        return [
            self._outcome_of(structures[place], found, second[place], good[place][0]) if place in good else found
            for place, found in enumerate(first)
        ]

    def close(self) -> None:
        """See `Evaluator.close`."""
        self._evaluator.close()

    def _outcome_of(
        self,
        structure: Structure,
        first: Result | HaloclineError,
        second: Result | HaloclineError,
        energy: float,
    ) -> Result | HaloclineError:
        if isinstance(first, HaloclineError) or isinstance(second, HaloclineError):
            return second if isinstance(second, HaloclineError) else first
        try:
            return self._complete(structure, first, second, energy)
        except NotFiniteError as error:
            return error

    def _weighted(self, structure: Structure, weights: NDArray[np.float64]) -> Structure:
        """The structure with weights (C,) for each of its atoms."""
        return structure.under({**structure.conditions, POOLED_WEIGHTS: np.tile(weights, (len(structure), 1))})

    def _energy(self, result: Result) -> tuple[float, NDArray[np.float64]]:
        """The head's energy in eV, and its derivative (C,) by the sums."""
        sums, atoms = _sums(result)
        sums.requires_grad_(True)
        energy = self._head(sums, atoms).sum()
        (weights,) = torch.autograd.grad(energy, sums)
        return float(energy.detach()), weights[0].numpy()

    def _complete(self, structure: Structure, first: Result, second: Result, energy: float) -> Result:
        """Forces and virial of the second run; energies of the first, whose weights were zero, with the head's.

        Where forces are direct, there is one run, and the head has its say on forces and virial.
        """
        forces, virial = second.forces, second.virial
        if not self._twice:
            positions, periodic = torch.from_numpy(structure.positions), bool(structure.pbc.any())
            forces = self._head.balanced(torch.from_numpy(forces), positions, periodic=periodic).numpy()
            virial = self._virial(first)
        energies = first.energies + energy / len(first.energies)
        return replace(second, energies=energies, forces=forces, virial=virial, pooled=None)

    def _virial(self, result: Result) -> NDArray[np.float64] | None:
        """The virial (3, 3) in eV of what atoms say and what the head says; None if nobody says anything."""
        stress = self._head.stress(*_sums(result))
        if stress is None:
            return result.virial
        if result.volume is None:
            return None  # the head says what the stress is, and there is none
        virial: NDArray[np.float64] = stress[0].numpy() * result.volume
        return virial if result.virial is None else result.virial + virial


def _sums(result: Result) -> tuple[Tensor, Tensor]:
    """The vectors added up over all atoms, (1, C), and how many atoms those are, (1,)."""
    assert result.pooled is not None
    atoms = torch.tensor([float(len(result.energies))], dtype=torch.float64)
    return torch.from_numpy(result.pooled.sum(axis=0)[None]), atoms
