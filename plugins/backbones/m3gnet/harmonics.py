"""Real spherical harmonics of low degree."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: The highest degree l there is.
HIGHEST_DEGREE = 3


def spherical_harmonics(directions: Tensor, degrees: int) -> Tensor:
    """Y_lm of unit vectors, normalised so that Σ_m Y_lm(a) Y_lm(b) = (2l + 1)/4π · P_l(a · b).

    Args:
        directions: [..., 3]; zero where padded.
        degrees: how many, from l = 0 on.

    Returns:
        [..., degrees²], l-major.
    """
    # Columns, not numbers: taking the last axis away makes compilers ask whether there is more than one edge.
    x, y, z = (directions[..., axis : axis + 1] for axis in range(3))
    functions = (_degree_0, _degree_1, _degree_2, _degree_3)
    return torch.cat([value for function in functions[:degrees] for value in function(x, y, z)], dim=-1)


def _degree_0(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    return [torch.full_like(x, math.sqrt(1.0 / (4.0 * math.pi)))]


def _degree_1(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    norm = math.sqrt(3.0 / (4.0 * math.pi))
    return [norm * y, norm * z, norm * x]


def _degree_2(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    norm = math.sqrt(15.0 / (4.0 * math.pi))
    # x² + y² + z² in place of 1 keeps the sum rule to rounding for vectors that are nearly unit.
    square = x * x + y * y + z * z
    return [
        norm * x * y,
        norm * y * z,
        norm / math.sqrt(12.0) * (3.0 * z * z - square),
        norm * x * z,
        norm / 2.0 * (x * x - y * y),
    ]


def _degree_3(x: Tensor, y: Tensor, z: Tensor) -> list[Tensor]:
    norm = math.sqrt(7.0 / (16.0 * math.pi))
    square = x * x + y * y + z * z
    outer, middle, inner = norm * math.sqrt(2.5), norm * math.sqrt(15.0), norm * math.sqrt(1.5)
    return [
        outer * y * (3.0 * x * x - y * y),
        2.0 * middle * x * y * z,
        inner * y * (5.0 * z * z - square),
        norm * z * (5.0 * z * z - 3.0 * square),
        inner * x * (5.0 * z * z - square),
        middle * z * (x * x - y * y),
        outer * x * (x * x - 3.0 * y * y),
    ]
