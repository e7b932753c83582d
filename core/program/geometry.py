"""What surrounds a program: vectors from positions, forces and virials from gradients, all in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def edge_vectors(senders: Tensor, receivers: Tensor, shifts: Tensor, lattice: Tensor) -> Tensor:
    """Vectors from receiver to sender, [..., 3] in Å: r_sender - r_receiver + shift · lattice.

    One product at a time, as `Edges.vectors` forms them: opposite edges are exactly opposite.

    Args:
        senders: [..., 3] Å, positions of the senders.
        receivers: positions of the receivers, which broadcast against them.
        shifts: [..., p], whole numbers of the lattice vectors that are added.
        lattice: (p, 3) Å, the periodic vectors of the cell.
    """
    vectors = senders - receivers
    for axis in range(lattice.shape[0]):
        vectors = vectors + shifts[..., axis : axis + 1] * lattice[axis]
    return vectors


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
    # With alpha=-1 instead, torch takes six times as long on CPUs.
    return forces.index_add_(0, receivers, pulls).index_add_(0, senders, -pulls)


def virial_from_gradients(gradients: Tensor, vectors: Tensor) -> Tensor:
    """Virial (3, 3) in eV: the symmetric part of Σ vector ⊗ gradient, in float64.

    The antisymmetric part is a torque. It vanishes for energies that do not change under rotation.

    Args:
        gradients: (E, 3), eV/Å.
        vectors: (E, 3), Å.
    """
    product = vectors.double().T @ gradients.double()
    return 0.5 * (product + product.T)


def virials_from_gradients(gradients: Tensor, vectors: Tensor, structures: Tensor, count: int) -> Tensor:
    """The virials (S, 3, 3) of several structures, in eV; see `virial_from_gradients`.

    Args:
        gradients: (E, 3), eV/Å.
        vectors: (E, 3), Å.
        structures: (E,) int64, the structure of each edge.
        count: S.
    """
    products = torch.einsum("ei,ej->eij", vectors.double(), gradients.double())
    sums = products.new_zeros((count, 3, 3)).index_add(0, structures, products)
    return 0.5 * (sums + sums.transpose(1, 2))
