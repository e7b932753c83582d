"""Weights from a seed, the same on every machine and in every order: nothing has to be stored."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def seeded_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, NDArray[np.float32]]:
    """Draw weights of MatterSim's shapes so that activations neither vanish nor grow.

    Each tensor has a stream of its own, from the seed and its name. Matrices have the variance 1 / (columns), the
    embedding, which is read by column, and the shift have 1; biases 0.01; the scale lies between 10 and 20, which
    makes forces of some tenths of an eV/Å.
    """
    weights = {}
    for name, shape in shapes.items():
        numbers = np.random.default_rng([seed, zlib.crc32(name.encode())]).random(shape)
        if name == "normalizer.scale":
            weights[name] = 10.0 + 10.0 * numbers
            continue
        deviation = {True: 0.1, False: 1.0}[name.endswith(".bias")]
        if len(shape) == 2 and not name.startswith("atom_embedding"):
            deviation = shape[1] ** -0.5
        weights[name] = deviation * 12**0.5 * (numbers - 0.5)
    return {name: values.astype(np.float32) for name, values in weights.items()}
