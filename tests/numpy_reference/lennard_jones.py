"""The switched Lennard-Jones energy and its gradient by every edge vector, pair by pair."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers

SWITCHED_PART = 0.2


class NumpyLennardJones:
    """Has no weights; takes everything from the config."""

    def __init__(self, config):
        self.cutoff = config["cutoff"]
        columns = zip(config["species"], config["epsilon"], config["sigma"], strict=True)
        self.parameters = {atomic_numbers[symbol]: (epsilon, sigma) for symbol, epsilon, sigma in columns}

    def energies_and_gradients(self, numbers, receivers, senders, vectors):
        """Energies (N,) in eV and gradients (E, 3) of their sum by the vectors, eV/Å."""
        energies, gradients = np.zeros(len(numbers)), np.zeros((len(vectors), 3))
        for edge, (i, j) in enumerate(zip(receivers, senders, strict=True)):
            (epsilon_i, sigma_i), (epsilon_j, sigma_j) = (self.parameters[numbers[k]] for k in (i, j))
            r = np.linalg.norm(vectors[edge])
            energy, slope = self._pair(r, np.sqrt(epsilon_i * epsilon_j), 0.5 * (sigma_i + sigma_j))
            energies[i] += 0.5 * energy
            gradients[edge] = 0.5 * slope * vectors[edge] / r
        return energies, gradients

    def _pair(self, r, epsilon, sigma):
        """Energy of a pair and its derivative by the distance."""
        s6 = (sigma / r) ** 6
        bare, bare_slope = 4 * epsilon * (s6**2 - s6), 4 * epsilon * (6 * s6 - 12 * s6**2) / r
        width = SWITCHED_PART * self.cutoff
        t = min(max((r - self.cutoff + width) / width, 0.0), 1.0)
        switch, switch_slope = 1 - 10 * t**3 + 15 * t**4 - 6 * t**5, -30 * (t * (1 - t)) ** 2 / width
        return bare * switch, bare_slope * switch + bare * switch_slope
