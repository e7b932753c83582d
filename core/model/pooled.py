"""Energies of whole structures from a vector that is added up over their atoms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from torch import Tensor, nn

#: What programs of such models are given beside conditions, (n_H, C): the derivative of the energy by the sums.
POOLED_WEIGHTS: Final = "pooled_weights"


class PooledHead(nn.Module, ABC):
    """An energy that is no sum over atoms, such as a network on the mean of their features.

    Programs see atoms of many structures, or of a part of one, and never a whole. They return the vector of each
    atom, and differentiate its products with weights that they are given; an evaluator adds the vectors up, asks
    the head, and gives its derivative for weights in a second run.

    Attributes:
        channels: C, numbers in the vector of an atom.
    """

    channels: int

    @abstractmethod
    def forward(self, sums: Tensor, atoms: Tensor) -> Tensor:
        """Energies (S,) in eV of S structures, differentiable twice by the sums.

        Args:
            sums: (S, C) float64, of the vectors over the atoms of each structure.
            atoms: (S,) float64, how many those are.
        """

    def stress(self, sums: Tensor, atoms: Tensor) -> Tensor | None:
        """Stresses (S, 3, 3) in eV/Å³, symmetric, tension positive, of a model whose forces are direct.

        Added to what atoms say of the virial, in structures that are periodic in all three directions. None, as
        by default, where the model says nothing of the stress in this way.

        Args:
            sums: as for `forward`.
            atoms: as for `forward`.
        """
        del sums, atoms
        return None

    def balanced(self, forces: Tensor, positions: Tensor, *, periodic: bool) -> Tensor:
        """Direct forces (N, 3) in eV/Å, once those of all atoms of a structure are known: less the net force, say.

        Args:
            forces: (N, 3) float64, as the readouts gave them.
            positions: (N, 3) float64, Å, not wrapped.
            periodic: whether the structure is periodic in any direction.
        """
        del positions, periodic
        return forces
