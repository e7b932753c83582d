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


@final
class SphericalBessel(nn.Module):
    """√(2/r_c³) j_l(z_ln r/r_c) / |j_{l+1}(z_ln)| for l < L, n < N, with z_ln the n-th root of j_l; l-major.

    C. Chen and S. P. Ong, Nat. Comput. Sci. 2, 718 (2022), eq. 5.

    Args:
        degrees: L.
        count: N.
        cutoff: r_c, Å.
    """

    roots: Tensor
    norms: Tensor

    def __init__(self, degrees: int, count: int, cutoff: float) -> None:
        super().__init__()
        roots = bessel_roots(degrees, count)
        next_values = np.stack([spherical_jn(degree + 1, roots[degree]) for degree in range(degrees)])
        norms = math.sqrt(2.0 / cutoff**3) / np.abs(next_values)
        self.register_buffer("roots", torch.from_numpy(roots / cutoff), persistent=False)
        self.register_buffer("norms", torch.from_numpy(norms), persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        """Evaluate all functions, [..., L·N]."""
        functions = (_j0, _j1, _j2, _j3)
        values = [
            functions[degree](distances[..., None] * roots) * norms
            for degree, (roots, norms) in enumerate(zip(self.roots, self.norms, strict=True))
        ]
        return torch.cat(values, dim=-1)


@final
class SmoothBessel(nn.Module):
    """Orthonormal combinations of sin(nπr/r_c)/r whose first and second derivatives vanish at r_c.

    E. Kocer, J. K. Mason and H. Erturk, AIP Adv. 10, 015021 (2020), eq. 8–13.

    Args:
        count: B.
        cutoff: r_c, Å.
    """

    waves: Tensor
    mixing: Tensor

    def __init__(self, count: int, cutoff: float) -> None:
        super().__init__()
        waves = torch.arange(1, count + 2, dtype=torch.float64) * (math.pi / cutoff)
        self.register_buffer("waves", waves, persistent=False)
        self.register_buffer("mixing", torch.from_numpy(_smooth_mixing(count, cutoff)), persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        """Evaluate all functions, [..., B]."""
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


def _smooth_mixing(count: int, cutoff: float) -> np.ndarray:
    """Coefficients (B + 1, B) of sinc((n + 1)πr/r_c) in the orthonormal functions, by their recursion."""
    n = np.arange(count)
    height = (
        (-1.0) ** n
        * math.sqrt(2.0)
        * math.pi
        / cutoff**1.5
        * (n + 1)
        * (n + 2)
        / np.sqrt((n + 1) ** 2 + (n + 2) ** 2)
    )
    e = n**2 * (n + 2) ** 2 / (4.0 * (n + 1) ** 4 + 1.0)
    mixing, d = np.zeros((count + 1, count)), 1.0
    for i in range(count):
        column = np.zeros(count + 1)
        column[i : i + 2] = height[i]
        if i:
            before, d = d, 1.0 - e[i] / d
            column = (column + math.sqrt(e[i] / before) * mixing[:, i - 1]) / math.sqrt(d)
        mixing[:, i] = column
    return mixing


def _j0(x: Tensor) -> Tensor:
    return torch.sin(x) / x


def _j1(x: Tensor) -> Tensor:
    return (torch.sin(x) / x - torch.cos(x)) / x


def _j2(x: Tensor) -> Tensor:
    return ((3.0 / (x * x) - 1.0) * torch.sin(x) - 3.0 * torch.cos(x) / x) / x


def _j3(x: Tensor) -> Tensor:
    square = x * x
    return ((15.0 / square - 6.0) * torch.sin(x) / x - (15.0 / square - 1.0) * torch.cos(x)) / x
