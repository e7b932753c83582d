"""M3GNet's energy with every triple written out, and its gradient by complex steps.

N atoms, E edges (centre i, end j, vector r_j - r_i), T triples (edge ij, another edge ik of the same centre).
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Legendre
from scipy.optimize import brentq
from scipy.special import spherical_jn

#: Size of a complex step; no difference is taken, so it can be as small as one likes.
STEP = 1e-30


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def swish(x):
    return x * sigmoid(x)


class NumpyM3GNet:
    """Takes weights from a state dict by name, and everything else from the config."""

    def __init__(self, config, weights):
        self.config = config
        self.w = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
        self.matgl = config["dialect"] == "matgl"

    def energies_forces_virial(self, numbers, receivers, senders, vectors):
        """Energies (N,) in eV, forces (N, 3) in eV/Å and the virial (3, 3) in eV.

        The derivative of an analytic function is the imaginary part of its value a tiny imaginary step away
        (W. Squire and G. Trapp, SIAM Rev. 40, 110, 1998).
        """
        vectors, ends = np.asarray(vectors).reshape(-1, 3), (np.asarray(receivers, int), np.asarray(senders, int))
        triples = self._triples(ends[0], np.linalg.norm(vectors, axis=1))

        def slope(direction):
            moved = vectors + 1j * STEP * direction
            return self._energies(numbers, *ends, moved, triples).sum().imag / STEP

        forces, virial = np.zeros((len(numbers), 3)), np.zeros((3, 3))
        for atom, axis in np.ndindex(forces.shape):
            pull = (ends[1] == atom).astype(float) - (ends[0] == atom)
            forces[atom, axis] = -slope(pull[:, None] * np.eye(3)[axis])
        for row, column in np.ndindex(3, 3):
            virial[row, column] = slope(vectors[:, row, None] * np.eye(3)[column])
        return self._energies(numbers, *ends, vectors, triples), forces, 0.5 * (virial + virial.T)

    def _triples(self, receivers, distances):
        """Pairs of different edges from one centre that are both short, (T, 2)."""
        short = np.flatnonzero(distances < self.config["threebody_cutoff"])
        pairs = [(a, b) for a in short for b in short if a != b and receivers[a] == receivers[b]]
        return np.array(pairs, int).reshape(-1, 2)

    def _energies(self, numbers, centres, ends, vectors, triples):
        distances = np.sqrt((vectors * vectors).sum(1))
        atoms = self.w["embed.table.weight"][numbers]
        basis = self._radial(self.config["radial"], distances, self._edge_functions())
        edges = swish(self._linear("layers.0.encoder", basis))
        for layer in range(self.config["layers"]):
            name = f"layers.{layer}"
            edges = edges + self._three_body(
                f"{name}.three_body", atoms, centres, ends, vectors, distances, triples
            )
            update = self._edge_mlp(f"{name}.edge_update", atoms, centres, ends, edges)
            edges = edges + update * self._linear(f"{name}.edge_weight", basis)
            weights = self._linear(f"{name}.atom_weight", basis)
            messages = self._edge_mlp(f"{name}.atom_update", atoms, centres, ends, edges)
            messages = messages * (weights if self.matgl else swish(weights))
            atoms = atoms + np.zeros_like(atoms)
            atoms = atoms.astype(messages.dtype)
            np.add.at(atoms, ends if self.config["sums"] == "end" else centres, messages)
        readout = self._gated("readout.final", atoms, atoms, 4 if self.matgl else 3, activate=False)
        return readout[:, 0] * self.w["embed.scale"][numbers]

    def _three_body(self, name, atoms, centres, ends, vectors, distances, triples):
        ij, ik = triples.T
        count = self.config["max_n"]
        cosines = (vectors[ij] * vectors[ik]).sum(1) / (distances[ij] * distances[ik])
        kind = self.config["radial"] if self.matgl else "bessel"
        radial = self._radial(kind, distances[ik], self.config["max_l"] * count)
        angular = [
            np.sqrt((2 * degree + 1) / (4 * np.pi)) * Legendre.basis(degree)(cosines)
            for degree in range(self.config["max_l"])
        ]
        gates = sigmoid(self._linear(f"{name}.gate", atoms))[(ends if self.matgl else centres)[ik]]
        envelope = self._envelope(distances)
        terms = radial * np.repeat(np.stack(angular, 1), count, axis=1) * gates
        sums = np.zeros((len(distances), radial.shape[1]), terms.dtype)
        np.add.at(sums, ij, terms * (envelope[ij] * envelope[ik])[:, None])
        return self._gated(f"{name}.update", sums, sums, 1, activate=True)

    def _edge_functions(self):
        return self.config["max_n"] * (self.config["max_l"] if self.config["radial"] == "bessel" else 1)

    def _radial(self, kind, r, count):
        return _smooth(r, count, self.config["cutoff"]) if kind == "smooth" else self._bessel(r)

    def _bessel(self, r):
        """√(2/r_c³) j_l(z_ln r/r_c) / |j_{l+1}(z_ln)|, l-major."""
        cutoff, columns = self.config["cutoff"], []
        for degree in range(self.config["max_l"]):
            for root in _roots(degree, self.config["max_n"]):
                norm = np.sqrt(2.0 / cutoff**3) / abs(spherical_jn(degree + 1, root))
                columns.append(norm * _bessel(degree, root * r / cutoff))
        return np.stack(columns, 1)

    def _envelope(self, r):
        x = r / self.config["threebody_cutoff"]
        return (1.0 - 10.0 * x**3 + 15.0 * x**4 - 6.0 * x**5) * (x.real < 1.0)

    def _edge_mlp(self, name, atoms, centres, ends, edges):
        first = self._linear(f"{name}.edge", edges) + self._linear(f"{name}.centre", atoms)[centres]
        values, gates = np.split(swish(first + self._linear(f"{name}.end", atoms)[ends]), 2, axis=1)
        return self._gated(name, values, gates, 2 if self.matgl else 1, activate=True)

    def _gated(self, name, values, gates, layers, *, activate):
        for layer in range(layers):
            last = layer == layers - 1
            values = self._linear(f"{name}.values.{layer}", values)
            values = swish(values) if activate or not last else values
            gates = self._linear(f"{name}.gates.{layer}", gates)
            gates = sigmoid(gates) if last else swish(gates)
        return values * gates

    def _linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0.0)


def _bessel(degree, x):
    """j_l by its recursion upwards, which takes complex arguments."""
    before, value = np.cos(x) / x, np.sin(x) / x
    for lower in range(degree):
        before, value = value, (2 * lower + 1) / x * value - before
    return value


def _roots(degree, count):
    """The first positive roots of j_l, by a fine search for changes of sign."""
    x = np.linspace(0.5 + degree, (count + degree + 1) * np.pi, 4000)
    values = spherical_jn(degree, x)
    at = np.flatnonzero(np.sign(values[:-1]) != np.sign(values[1:]))[:count]
    return [brentq(lambda y: spherical_jn(degree, y), x[i], x[i + 1], xtol=1e-15, rtol=1e-15) for i in at]


def _smooth(r, count, cutoff):
    """g_n by the recursion, (E, count)."""
    functions, d = [], []
    for n in range(count):
        a, b = (n + 1) * np.pi * r / cutoff, (n + 2) * np.pi * r / cutoff
        f = (-1.0) ** n * np.sqrt(2.0) * np.pi / cutoff**1.5 * (n + 1) * (n + 2) / np.sqrt(2 * n**2 + 6 * n + 5)
        f = f * (np.sin(a) / a + np.sin(b) / b)
        e = n**2 * (n + 2) ** 2 / (4 * (n + 1) ** 4 + 1)
        d.append(1.0 if n == 0 else 1.0 - e / d[-1])
        functions.append(f if n == 0 else (f + np.sqrt(e / d[n - 1]) * functions[-1]) / np.sqrt(d[n]))
    return np.stack(functions, 1)
