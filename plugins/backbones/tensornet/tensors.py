"""3×3 tensors as nine coefficients: of the unit matrix, of a skew part, and of a symmetric one without trace.

The matrices that these belong to are orthonormal, so squares of Frobenius norms are sums of squares. The
three parts are rows 0, 1 to 3 and 4 to 8. G. Simeon and G. De Fabritiis, NeurIPS 2023 (arXiv:2306.06482), sec. 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

#: Rows of the three parts.
SIZES = [1, 3, 5]


def basis() -> NDArray[np.float64]:
    """The nine matrices, (9, 3, 3)."""
    x, y, z = np.eye(3)
    unit = [np.eye(3) / np.sqrt(3.0)]
    skew = [(np.outer(b, a) - np.outer(a, b)) / np.sqrt(2.0) for a, b in ((y, z), (z, x), (x, y))]
    mixed = [(np.outer(a, b) + np.outer(b, a)) / np.sqrt(2.0) for a, b in ((x, y), (y, z), (z, x))]
    first = (np.outer(x, x) - np.outer(y, y)) / np.sqrt(2.0)
    second = (2.0 * np.outer(z, z) - np.outer(x, x) - np.outer(y, y)) / np.sqrt(6.0)
    return np.stack([*unit, *skew, *mixed, first, second])


def of_directions(directions: Tensor) -> tuple[Tensor, Tensor]:
    """The skew matrix of unit vectors and r rᵀ - 1/3, eq. 5: [..., 3] → [..., 3] and [..., 5]."""
    x, y, z = directions.unbind(-1)
    mixed = [2.0**0.5 * (x * y), 2.0**0.5 * (y * z), 2.0**0.5 * (z * x)]
    first, second = (x * x - y * y) * 0.5**0.5, (2.0 * z * z - x * x - y * y) * 6.0**-0.5
    return directions * 2.0**0.5, torch.stack([*mixed, first, second], -1)


def squares(tensors: Tensor) -> Tensor:
    """Squares of Frobenius norms, (n, 9, C) → (n, C)."""
    return (tensors * tensors).sum(1)


@final
class Mix(nn.Module):
    """One linear map of channels for each of the three parts.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(channels, channels, bias=False, dtype=torch.float64) for _ in SIZES)

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """(n, 1, C), (n, 3, C) and (n, 5, C) → the same shapes."""
        return [mapped(part) for mapped, part in zip(self.maps, parts, strict=True)]


@final
class Matrices(nn.Module):
    """Products of tensors as matrices."""

    matrices: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrices", torch.from_numpy(basis().reshape(9, 9)), persistent=False)

    def forward(self, tensors: Tensor) -> Tensor:
        """Coefficients (n, 9, C) → matrices (n, 3, 3, C)."""
        return (self.matrices.T @ tensors).reshape(-1, 3, 3, tensors.shape[-1])

    def coefficients(self, matrices: Tensor) -> Tensor:
        """Matrices (n, 3, 3, C) → coefficients (n, 9, C)."""
        return self.matrices @ matrices.flatten(1, 2)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Products of matrices channel by channel, (n, 3, 3, C)."""
    return (a[:, :, :, None] * b[:, None]).sum(2)
