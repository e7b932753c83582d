"""The small model of dihedral angles, `kinds.dihedrals.Dihedrals`, with every chain of edges written out."""

from __future__ import annotations

import numpy as np

#: Å, by which two ways to one image of an atom may differ.
SAME = 1e-6


def energy(weights, numbers, edges, cutoff, short, layers):
    """The energy in eV. Four atoms are looked at by where they are, and not by which edges lead there.

    Args:
        weights: of the backbone, by name.
        numbers: (N,) atomic numbers.
        edges: (receiver, sender, vector) of all pairs within the cutoff.
        cutoff: Å.
        short: Å, of the edges between.
        layers: how many.
    """
    x = weights["embed.table.weight"][numbers]
    for layer in range(layers):
        start, angle, mix = (weights[f"layers.{layer}.{name}.weight"] for name in ("start", "angle", "mix"))
        sums = np.zeros_like(x)
        for i, _, to_j in edges:
            gathered = np.zeros(x.shape[1])
            for i2, k, to_k in edges:
                if i2 != i or np.linalg.norm(to_k) >= short or np.linalg.norm(to_k - to_j) < SAME:
                    continue
                for k2, last, to_l in edges:
                    if k2 != k or np.linalg.norm(to_k + to_l) < SAME:  # back at i
                        continue
                    first, second = np.cross(to_j, to_k), np.cross(to_l, to_k)
                    lengths = np.linalg.norm(to_j) * np.linalg.norm(to_k) ** 2 * np.linalg.norm(to_l)
                    e = np.linalg.norm(to_l) * start[:, 0] * x[last] * end(to_l, cutoff)
                    gathered += np.exp(first @ second / lengths * angle[:, 0]) * end(to_k, short) * e
            sums[i] += np.tanh(gathered) * end(to_j, cutoff)
        x = x + np.tanh(sums @ mix.T)
    return float((x @ weights["readout.out.weight"].T).sum())


def end(vector, cutoff):
    return (1.0 - vector @ vector / cutoff**2) ** 4
