"""The SchNet of PNNL's water-cluster work, in the words of its own state dictionary: energies in kcal/mol.

Forces are by complex steps, so that no derivative is written out: a function that is analytic in the positions has
-dE/dx = -Im E(x + ih) / h to the last bits for h that is small enough (J. N. Lyness and C. B. Moler,
SIAM J. Numer. Anal. 4, 202 (1967)). Which atoms are neighbours follows from the real parts.
"""

from __future__ import annotations

import numpy as np

STEP = 1e-40
NEAREST = 28


class NumpyPnnl:
    """Takes a state dictionary as it is, and the cutoff of the envelope in Å."""

    def __init__(self, state, cutoff=6.0):
        self.w = {name.removeprefix("module."): np.asarray(value, np.float64) for name, value in state.items()}
        self.cutoff = cutoff
        self.interactions = sum(name.endswith(".lin.bias") for name in self.w)

    def energy(self, numbers, positions):
        """kcal/mol, of atoms at positions (N, 3), which may be complex."""
        centres, senders = neighbours(np.real(positions))
        between = positions[centres] - positions[senders]
        distances = np.sqrt((between * between).sum(1))
        offsets = self.w["basis_expansion.offset"]
        gauss = np.exp(-0.5 / (offsets[1] - offsets[0]) ** 2 * (distances[:, None] - offsets) ** 2)
        envelope = 0.5 * (np.cos(distances * np.pi / self.cutoff) + 1.0)
        h = self.w["atom_embedding.weight"][numbers].astype(positions.dtype)
        for number in range(self.interactions):
            name = f"interactions.{number}"
            filters = self._linear(f"{name}.conv.nn.2", softplus(self._linear(f"{name}.conv.nn.0", gauss)))
            messages = self._linear(f"{name}.conv.lin1", h)[senders] * filters * envelope[:, None]
            total = np.zeros_like(h)
            np.add.at(total, centres, messages)
            h = h + self._linear(f"{name}.lin", softplus(self._linear(f"{name}.conv.lin2", total)))
        return self._linear("lin2", softplus(self._linear("lin1", h))).sum()

    def forces(self, numbers, positions):
        """kcal/mol/Å, (N, 3)."""
        forces = np.zeros(positions.shape)
        for place in np.ndindex(positions.shape):
            stepped = positions.astype(np.complex128)
            stepped[place] += 1j * STEP
            forces[place] = -self.energy(numbers, stepped).imag / STEP
        return forces

    def _linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0.0)


def neighbours(positions):
    """Centres and senders: of each atom its 28 nearest others, or all of them where there are fewer."""
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, : min(NEAREST, len(positions) - 1)]
    return np.repeat(np.arange(len(positions)), nearest.shape[1]), nearest.ravel()


def softplus(x):
    """log(1 + exp(x)) - log 2, also of complex numbers; none here is large."""
    return np.log(1.0 + np.exp(x)) - np.log(2.0)
