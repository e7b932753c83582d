"""Constants that upstream packages hold in single precision and do not store with their models.

They are part of the published functions: exact ones instead change energies by 1e-8 of their size. What is stored
there came out of single-precision arithmetic, so that they cannot be computed again to the last bit; nine digits
name each of them. z_ln is the n-th root of the spherical Bessel function j_l; rows have one l, columns one n.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: z_ln, as MatGL has them.
MATGL_ROOTS = [
    [3.14159274, 6.28318548, 9.42477798],
    [4.49340963, 7.72525167, 10.9041214],
    [5.76345921, 9.09501171, 12.3229408],
]

#: √(2/r_c³) / |j_{l+1}(z_ln)| for r_c = 5 Å, as MatGL has them.
MATGL_NORMS = [
    [0.397383511, 0.794767022, 1.19215047],
    [0.58228147, 0.985328376, 1.38506234],
    [0.764077425, 1.17185712, 1.57436526],
]

#: z_ln, as MatterSim has them.
MATTERSIM_ROOTS = [
    [3.14159274, 6.28318548, 9.42477798, 12.566371],
    [4.49340963, 7.72525167, 10.9041214, 14.0661936],
    [5.76345921, 9.09501171, 12.3229408, 15.5146027],
    [6.98793221, 10.4171181, 13.6980228, 16.9236221],
]

#: For l = 1, 2, 3: factors of the terms of j_l in falling powers of r, over |j_{l+1}(z_ln)|; signs as MatterSim's.
MATTERSIM_FACTORS = [
    [
        [-1.02446485, -1.00834334, -1.00419641, -1.00252378],
        [0.227992758, 0.130525634, 0.0920932889, 0.0712718591],
    ],
    [
        [-1.04807949, -1.01861799, -1.01002276, -1.0062896],
        [0.545547068, 0.335992306, 0.245888397, 0.194582403],
        [0.0946561843, 0.036942482, 0.019953711, 0.0125418874],
    ],
    [
        [1.06942832, 1.02921736, 1.0165081, 1.01069653],
        [0.918235838, 0.592803478, 0.445250273, 0.358326316],
        [0.328507721, 0.142266676, 0.0812617764, 0.0529328659],
        [0.0470107198, 0.0136570092, 0.00593237253, 0.00312775047],
    ],
]


def mattersim_coefficients() -> Tensor:
    """The buffer ``sbf.coef`` (4, 9, 4): for l, rows of factors and of roots in turn; only roots for l = 0."""
    coefficients = torch.zeros(4, 9, 4, dtype=torch.float32)
    roots = torch.tensor(MATTERSIM_ROOTS, dtype=torch.float32)
    coefficients[0, 0] = roots[0]
    for degree, factors in enumerate(MATTERSIM_FACTORS, start=1):
        coefficients[degree, 0 : 2 * len(factors) : 2] = torch.tensor(factors, dtype=torch.float32)
        coefficients[degree, 1 : 2 * len(factors) : 2] = roots[degree]
    return coefficients
