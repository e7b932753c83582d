"""What is told of a whole structure by the mean of its atoms' features."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from halocline.model import PooledHead
from halocline.plugins.backbones.orb.config import ORBConfig
from halocline.plugins.backbones.orb.perceptron import Perceptron

#: Components of symmetric tensors in the order xx, yy, zz, yz, xz, xy.
_VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))

#: Of the largest moment of inertia: moments below it are zero, as that of a molecule on a line.
_STRAIGHT = 1e-10


@final
class MeanHead(PooledHead):
    """An energy of each atom, and maybe a stress, from the mean of features; direct forces without net force.

    Attributes:
        scale, shift: (), eV per atom.
        stress_scale, stress_shift: (6,), eV/Å³.
        force_shift: (), eV/Å, which upstream adds to each component of each force, net forces notwithstanding.
    """

    scale: Tensor
    shift: Tensor
    stress_scale: Tensor
    stress_shift: Tensor
    force_shift: Tensor

    def __init__(self, config: ORBConfig) -> None:
        super().__init__()
        sizes = (config.features, config.head_hidden)
        self.features, self.repels = config.features, config.repulsion and config.is_conservative
        self.channels = config.features + self.repels
        self.energy = Perceptron((*sizes, 1), config.version)
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("shift", torch.zeros((), dtype=torch.float64))
        self.direct = not config.is_conservative
        if self.direct:
            self.register_buffer("force_shift", torch.zeros((), dtype=torch.float64))
        self.has_stress = config.stress
        if config.stress:
            self.stress_of = Perceptron((*sizes, 6), config.version)
            self.register_buffer("stress_scale", torch.ones(6, dtype=torch.float64))
            self.register_buffer("stress_shift", torch.zeros(6, dtype=torch.float64))

    def forward(self, sums: Tensor, atoms: Tensor) -> Tensor:
        """See `PooledHead.forward`. Of the repulsion in conservative models, upstream adds the mean over atoms."""
        mean = sums / atoms[:, None]
        each: Tensor = self.energy(mean[:, : self.features]).squeeze(-1) * self.scale + self.shift
        return each * atoms + mean[:, -1] if self.repels else each * atoms

    def stress(self, sums: Tensor, atoms: Tensor) -> Tensor | None:
        """See `PooledHead.stress`."""
        if not self.has_stress:
            return None
        values: Tensor = self.stress_of(sums / atoms[:, None]) * self.stress_scale + self.stress_shift
        return values[:, torch.tensor(_VOIGT)]

    def balanced(self, forces: Tensor, positions: Tensor, *, periodic: bool) -> Tensor:
        """See `PooledHead.balanced`: no net force, and where nothing is periodic no net torque, as in upstream.

        The torque is removed by the smallest change of forces, r × μ.
        """
        forces = forces - forces.mean(0)
        if not periodic:
            forces = forces + _without_torque(forces, positions - positions.mean(0))
        return forces + self.force_shift


def _without_torque(forces: Tensor, arms: Tensor) -> Tensor:
    """The smallest change (N, 3) of forces (N, 3) after which arms (N, 3) about the centre see no torque."""
    inertia = arms.square().sum() * torch.eye(3, dtype=arms.dtype, device=arms.device) - arms.T @ arms
    moments, axes = torch.linalg.eigh(inertia)
    kept = moments > _STRAIGHT * moments.max()
    torque = axes.T @ torch.linalg.cross(arms, forces).sum(0)
    turn = axes @ torch.where(kept, torque / torch.where(kept, moments, 1.0), 0.0)
    change: Tensor = torch.linalg.cross(arms, turn.expand_as(arms))
    return change
