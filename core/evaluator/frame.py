"""From edge gradients to forces and virial: one sum each."""

from __future__ import annotations

from torch import Tensor


def forces_from_gradients(gradients: Tensor, receivers: Tensor, senders: Tensor, atoms: int) -> Tensor:
    """Forces (N, 3) in eV/Å, in float64.

    An edge vector is r_sender - r_receiver, so its gradient pulls the two apart with opposite signs.

    Args:
        gradients: (E, 3), eV/Å, of the energy by each edge vector.
        receivers: (E,) int64.
        senders: (E,) int64.
        atoms: N.
    """
    pulls = gradients.double()
    forces = pulls.new_zeros((atoms, 3))
    return forces.index_add(0, receivers, pulls).index_add(0, senders, -pulls)


def virial_from_gradients(gradients: Tensor, vectors: Tensor) -> Tensor:
    """Virial (3, 3) in eV: the symmetric part of Σ vector ⊗ gradient, in float64.

    The antisymmetric part is a torque. It vanishes for energies that do not change under rotation.

    Args:
        gradients: (E, 3), eV/Å.
        vectors: (E, 3), Å.
    """
    product = vectors.double().T @ gradients.double()
    return 0.5 * (product + product.T)
