"""The small model of angles, `kinds.edges.Angles`, with every pair of edges written out."""

from __future__ import annotations

import numpy as np


def energy(weights, numbers, edges, cutoff, layers):
    """The energy in eV.

    Args:
        weights: of the backbone, by name.
        numbers: (N,) atomic numbers.
        edges: (receiver, sender, vector) of each edge that the model's rule keeps.
        cutoff: Å.
        layers: how many.
    """
    x = weights["embed.table.weight"][numbers]
    lengths = np.array([np.linalg.norm(vector) for _, _, vector in edges])
    ends = (1.0 - (lengths / cutoff) ** 2) ** 4
    e = None
    for layer in range(layers):
        start, angle, mix = (weights[f"layers.{layer}.{name}.weight"] for name in ("start", "angle", "mix"))
        if e is None:
            e = lengths[:, None] @ start.T * ends[:, None]
        gathered = np.zeros_like(e)
        for a, (i, _, u) in enumerate(edges):
            for b, (k, _, v) in enumerate(edges):
                if i == k and a != b:
                    cosine = u @ v / (lengths[a] * lengths[b])
                    gathered[a] += np.exp(cosine * angle[:, 0]) * e[b]
        e = e + ends[:, None] * np.tanh(gathered)
        sums = np.zeros_like(x)
        for a, (i, j, _) in enumerate(edges):
            sums[i] += e[a] * x[j]
        x = x + np.tanh(sums @ mix.T)
    return float((x @ weights["readout.out.weight"].T).sum())
