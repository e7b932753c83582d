"""Radial functions of M3GNet. Each takes distances [...] in Å to [..., B]."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import final

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import Tensor, nn

#: j_l(x) = Σ_k c_lk t_lk(x) / x^(k+1), where t is the sine if l - k is even, else the cosine.
_TERMS = ((1.0,), (-1.0, 1.0), (-1.0, -3.0, 3.0), (1.0, -6.0, -15.0, 15.0))


@final
class SphericalBessel(nn.Module):
    """√(2/r_c³) j_l(z_ln r/r_c) / |j_{l+1}(z_ln)| for l < L, n < N, with z_ln the n-th root of j_l; l-major.

    C. Chen and S. P. Ong, Nat. Comput. Sci. 2, 718 (2022), eq. 5.

    Constants are kept with the weights, as published weights were fitted to constants in single precision.

    Attributes:
        roots: (L, N), z_ln.
        amplitudes: (L, L, N), factors of the terms of j_l; the k-th is divided by (r/r_c)^(k+1).

    Args:
        degrees: L.
        count: N.
        cutoff: r_c, Å.
    """

    roots: Tensor
    amplitudes: Tensor

    def __init__(self, degrees: int, count: int, cutoff: float) -> None:
        super().__init__()
        self.degrees, self.cutoff = degrees, cutoff
        roots = bessel_roots(degrees, count)
        next_values = np.stack([spherical_jn(degree + 1, roots[degree]) for degree in range(degrees)])
        norms = math.sqrt(2.0 / cutoff**3) / np.abs(next_values)
        self.register_buffer("roots", torch.from_numpy(roots))
        self.register_buffer("amplitudes", torch.from_numpy(bessel_amplitudes(roots, norms)))

    def forward(self, distances: Tensor) -> Tensor:
        """All functions, l-major, at distances [...] in Å: [..., L·N]."""
        x = distances[..., None] / self.cutoff
        return torch.cat([self._degree(degree, x) for degree in range(self.degrees)], dim=-1)

    def _degree(self, degree: int, x: Tensor) -> Tensor:
        """The functions of one degree at x = r/r_c, [..., 1] → [..., N]; Horner's scheme in 1/x."""
        waves = torch.sin(x * self.roots[degree]), torch.cos(x * self.roots[degree])
        value = self.amplitudes[degree, degree] * waves[0]
        for term in reversed(range(degree)):
            value = value / x + self.amplitudes[degree, term] * waves[(degree - term) % 2]
        return value / x


@final
class SmoothBessel(nn.Module):
    """Orthonormal combinations of sin(nπr/r_c)/r whose first and second derivatives vanish at r_c.

    E. Kocer, J. K. Mason and H. Erturk, AIP Adv. 10, 015021 (2020), eq. 8-13. Constants are kept with the weights.

    Attributes:
        waves: (B + 1,), 1/Å.
        mixing: (B + 1, B).

    Args:
        count: B.
        cutoff: r_c, Å.
    """

    waves: Tensor
    mixing: Tensor

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        n = np.arange(count)
        heights = (-1.0) ** n * math.sqrt(2.0) * math.pi / cutoff**1.5 * (n + 1) * (n + 2)
        heights = heights / np.sqrt((n + 1) ** 2 + (n + 2) ** 2)
        e = n**2 * (n + 2) ** 2 / (4.0 * (n + 1) ** 4 + 1.0)
        d = [1.0]
        for share in e[1:]:
            d.append(1.0 - share / d[-1])
        waves = torch.arange(1, count + 2, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("waves", waves)
        self.register_buffer("mixing", torch.from_numpy(smooth_mixing(heights, e, np.array(d))))

    def forward(self, distances: Tensor) -> Tensor:
        """All functions at distances [...] in Å: [..., B]."""
        arguments = distances[..., None] * self.waves
        return (torch.sin(arguments) / arguments) @ self.mixing


def polynomial_envelope(distances: Tensor, cutoff: float) -> Tensor:
    """1 - 10x³ + 15x⁴ - 6x⁵ for x = r/r_c < 1 and 0 beyond, [...]: smooth to the second derivative.

    J. Gasteiger, J. Groß and S. Günnemann, ICLR 2020, eq. 8 with p = 3.
    """
    x = distances / cutoff
    envelope = 1.0 + x * x * x * (-10.0 + x * (15.0 - 6.0 * x))
    return envelope * (distances < cutoff).to(envelope.dtype)


def bessel_roots(degrees: int, count: int) -> np.ndarray:
    """The first positive roots of j_0, j_1, ..., (degrees, count). Those of j_{l+1} lie between those of j_l."""
    rows = [np.arange(1, count + degrees) * math.pi]
    for degree in range(1, degrees):
        function = partial(spherical_jn, degree)
        rows.append(np.array([brentq(function, a, b, xtol=1e-15, rtol=1e-15) for a, b in pairwise(rows[-1])]))
    return np.stack([row[:count] for row in rows])


def bessel_amplitudes(roots: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """See `SphericalBessel`, from its roots (L, N) and the norms (L, N) of its functions: (L, L, N)."""
    amplitudes = np.zeros((len(roots), *roots.shape))
    for degree, terms in enumerate(_TERMS[: len(roots)]):
        for power, factor in enumerate(terms):
            amplitudes[degree, power] = factor * norms[degree] / roots[degree] ** (power + 1)
    return amplitudes


def smooth_mixing(heights: np.ndarray, e: np.ndarray, d: np.ndarray) -> np.ndarray:
    """See `SmoothBessel`: the orthonormal functions in terms of its waves, (B + 1, B), by their recursion.

    Args:
        heights: (B,), of the functions f_n = height · (sinc of wave n + sinc of wave n + 1).
        e: (B,), overlaps of neighbouring functions.
        d: (B,), what their norms come to.
    """
    mixing = np.zeros((len(heights) + 1, len(heights)))
    for i, height in enumerate(heights):
        mixing[i : i + 2, i] = height
        if i:
            mixing[:, i] = (mixing[:, i] + math.sqrt(e[i] / d[i - 1]) * mixing[:, i - 1]) / math.sqrt(d[i])
    return mixing
