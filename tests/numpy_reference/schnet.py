"""SchNet's energy and its gradient by every edge vector, written out by hand.

N atoms, E edges (receiver i, sender j, vector r_j - r_i), C features, G Gaussians.
"""

from __future__ import annotations

import numpy as np

LOG2 = np.log(2.0)


def softplus(x):
    """log(1 + exp(x)) - log 2."""
    return np.logaddexp(0.0, x) - LOG2


def sigmoid(x):
    """The derivative of softplus."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


class NumpySchNet:
    """Takes weights from a state dict by name, and everything else from the config."""

    def __init__(self, config, weights):
        self.config = config
        self.w = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}

    def energies_and_gradients(self, numbers, receivers, senders, vectors):
        """Energies (N,) in eV and gradients (E, 3) of their sum by the vectors, eV/Å."""
        distances = np.linalg.norm(vectors, axis=1)
        features = self.w["embed.table.weight"][numbers]
        tape = []
        for layer in range(self.config["layers"]):
            features, saved = self._interaction(layer, features, receivers, senders, distances)
            tape.append(saved)
        pre = self._linear("readout.hidden", features)
        energies = self._linear("readout.out", softplus(pre))[:, 0]

        d_hidden = np.ones((len(numbers), 1)) @ self.w["readout.out.weight"]
        d_features = (d_hidden * sigmoid(pre)) @ self.w["readout.hidden.weight"]
        d_distances = np.zeros(len(distances))
        for layer in reversed(range(self.config["layers"])):
            d_features, d_r = self._interaction_backward(layer, d_features, tape[layer], receivers, senders)
            d_distances += d_r
        return energies, d_distances[:, None] * vectors / distances[:, None]

    def _interaction(self, layer, features, receivers, senders, distances):
        gauss, d_gauss = self._gaussians(distances)
        envelope, d_envelope = self._envelope(distances)
        pre_filter = self._linear(f"layers.{layer}.filters.hidden", gauss)
        raw = self._linear(f"layers.{layer}.filters.out", softplus(pre_filter))
        sent = self._linear(f"layers.{layer}.sender", features)
        total = np.zeros_like(features)
        for edge, (i, j) in enumerate(zip(receivers, senders, strict=True)):
            total[i] += sent[j] * raw[edge] * envelope[edge]
        pre_update = self._linear(f"layers.{layer}.receiver", total)
        update = self._linear(f"layers.{layer}.out", softplus(pre_update))
        saved = (d_gauss, envelope, d_envelope, pre_filter, raw, sent, pre_update)
        return features + update, saved

    def _interaction_backward(self, layer, d_out, saved, receivers, senders):
        d_gauss, envelope, d_envelope, pre_filter, raw, sent, pre_update = saved
        name = f"layers.{layer}"
        d_total = ((d_out @ self.w[f"{name}.out.weight"]) * sigmoid(pre_update)) @ self.w[
            f"{name}.receiver.weight"
        ]
        d_sent = np.zeros_like(sent)
        d_filter = np.zeros_like(raw)
        for edge, (i, j) in enumerate(zip(receivers, senders, strict=True)):
            d_sent[j] += d_total[i] * raw[edge] * envelope[edge]
            d_filter[edge] = d_total[i] * sent[j]
        d_pre = (d_filter * envelope[:, None]) @ self.w[f"{name}.filters.out.weight"] * sigmoid(pre_filter)
        d_distances = ((d_pre @ self.w[f"{name}.filters.hidden.weight"]) * d_gauss).sum(1)
        d_distances += (d_filter * raw).sum(1) * d_envelope
        return d_out + d_sent @ self.w[f"{name}.sender.weight"], d_distances

    def _gaussians(self, distances):
        """Values and derivatives, (E, G) each. The tails below exp(-36) are flat."""
        spacing = self.config["cutoff"] / (self.config["gaussians"] - 1)
        scaled = (distances[:, None] - spacing * np.arange(self.config["gaussians"])) / spacing
        exponent = 0.5 * scaled**2
        values = np.exp(-np.minimum(exponent, 36.0))
        return values, np.where(exponent < 36.0, -values * scaled / spacing, 0.0)

    def _envelope(self, distances):
        """Values and derivatives, (E,) each."""
        k = np.pi / self.config["cutoff"]
        alive = (distances < self.config["cutoff"]) | (self.config["neighbours"] == "nearest")
        return 0.5 * (np.cos(k * distances) + 1.0) * alive, -0.5 * k * np.sin(k * distances) * alive

    def _linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0.0)


def forces_and_virial(atoms, receivers, senders, vectors, gradients):
    """Forces (N, 3) in eV/Å and virial (3, 3) in eV from the gradients by the edge vectors."""
    forces, virial = np.zeros((atoms, 3)), np.zeros((3, 3))
    for i, j, vector, gradient in zip(receivers, senders, vectors, gradients, strict=True):
        forces[i] += gradient
        forces[j] -= gradient
        virial += np.outer(vector, gradient)
    return forces, virial
