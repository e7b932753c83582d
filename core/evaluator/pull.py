"""Forces and virial of a whole structure from the gradients of its edges."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.graph.compiled import address, plain, steps
from halocline.program.geometry import forces_from_gradients

#: Functions of ``steps.cpp``, by the dtype of gradients.
_COMPILED: Final = {torch.float32: "pull_float32", torch.float64: "pull_float64"}

#: Edges whose products are added up at a time: they stay in the nearest cache.
_AT_ONCE: Final = 512


@final
class Pull:
    """What gradients of E edges do to N atoms.

    Sums are in the order of the edges: forces of all receivers first, then of all senders. So they are the same to
    the bit with compiled code and without.

    Args:
        receivers: (E,) int64.
        senders: (E,) int64.
        atoms: N.
    """

    def __init__(self, receivers: NDArray[np.int64], senders: NDArray[np.int64], atoms: int) -> None:
        self._receivers, self._senders = plain(receivers, np.int64), plain(senders, np.int64)
        self._atoms = atoms
        self._places = address(self._receivers), address(self._senders)

    def of(
        self, gradients: Tensor, vectors: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Forces (N, 3) in eV/Å, and the virial (3, 3) in eV: the symmetric part of Σ vector ⊗ gradient.

        Args:
            gradients: (E, 3) eV/Å, of the energy by each vector, on the CPU.
            vectors: (E, 3) Å.
        """
        if steps.functions is None or gradients.dtype not in _COMPILED:
            pulls = gradients.double()
            ends = torch.from_numpy(self._receivers), torch.from_numpy(self._senders)
            return forces_from_gradients(pulls, *ends, self._atoms).numpy(), _virial(vectors, pulls.numpy())
        pull = getattr(steps.functions, _COMPILED[gradients.dtype])
        given, vectors = gradients.contiguous(), plain(vectors, np.float64)
        found = np.empty((self._atoms + 3, 3))
        start = address(found)
        virial_at = start + self._atoms * 3 * found.itemsize
        edges = len(self._receivers)
        pull(edges, self._atoms, given.data_ptr(), address(vectors), *self._places, start, virial_at)
        return found[: self._atoms], found[self._atoms :]


def _virial(vectors: NDArray[np.float64], pulls: NDArray[np.float64]) -> NDArray[np.float64]:
    """One product after another, as the compiled code adds them up; matrix products have orders of their own."""
    total = np.zeros((1, 9))
    for first in range(0, len(vectors), _AT_ONCE):
        here = slice(first, first + _AT_ONCE)
        products = (vectors[here, :, None] * pulls[here, None, :]).reshape(-1, 9)
        total = np.add.reduce(np.concatenate((total, products)), axis=0, keepdims=True)
    product = total.reshape(3, 3)
    return np.asarray(0.5 * (product + product.T))
