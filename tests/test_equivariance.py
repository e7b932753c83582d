"""The algebra of O(3) is what it claims to be: orthogonal, complete, equivariant, in the stated order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre
from scipy.spatial.transform import Rotation

from halocline.errors import BackboneError
from halocline.plugins.equivariance import (
    ChannelwiseProduct,
    Irrep,
    IrrepLinear,
    SpeciesLinear,
    SymmetricContraction,
    coupling,
    dimension,
    natural_irreps,
    parse_irreps,
    paths,
    slices,
    spherical_harmonics,
    symmetric_couplings,
)
from halocline.plugins.equivariance.linear import FEW

#: Of numbers of order one.
ROUNDING = 1e-12

TRIANGLES = [
    (a, b, c) for a, b, c in itertools.product(range(5), repeat=3) if abs(a - b) <= c <= a + b and max(a, b) <= 3
]

#: Rotations, some followed by inversion.
MOTIONS = [
    sign * Rotation.from_rotvec(vector).as_matrix()
    for sign, vector in zip(
        (1, -1, 1, -1), np.random.default_rng(5).normal(size=(4, 3)) * [[0.0], [0.0], [2.0], [1.0]], strict=True
    )
]


def directions(count=60, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def harmonics(vectors, degree):
    """Of one degree."""
    return spherical_harmonics(torch.from_numpy(vectors), degree).numpy()[
        :, slices(natural_irreps(degree))[degree]
    ]


def representation(irrep, motion):
    """How components change under a motion, from what harmonics do: Y(Rn) = D Y(n)."""
    proper = motion * np.linalg.det(motion)
    points = directions()
    matrix = np.linalg.lstsq(
        harmonics(points, irrep.degree), harmonics(points @ proper.T, irrep.degree), rcond=None
    )[0].T
    return matrix * (irrep.parity if np.linalg.det(motion) < 0 else 1)


def representations(irreps, motion):
    """Of several irreps, block by block."""
    matrix = np.zeros((dimension(irreps),) * 2)
    for irrep, place in zip(irreps, slices(irreps), strict=True):
        matrix[place, place] = representation(irrep, motion)
    return matrix


def moved(motion, irreps, values):
    """Features (..., m, C) as they are after a motion."""
    return torch.from_numpy(representations(irreps, motion)) @ values


def sphere(exact):
    """Points and weights that integrate polynomials up to a degree over the unit sphere, to one."""
    heights, weights = legendre.leggauss(exact // 2 + 1)
    angles = 2 * math.pi * np.arange(exact + 1) / (exact + 1)
    z, phi = (grid.ravel() for grid in np.meshgrid(heights, angles, indexing="ij"))
    ring = np.sqrt(1 - z * z)
    return np.stack([ring * np.cos(phi), ring * np.sin(phi), z], 1), np.repeat(weights, exact + 1) / 2 / (
        exact + 1
    )


def test_harmonics_are_orthogonal_with_the_stated_norm():
    points, weights = sphere(exact=12)
    values = spherical_harmonics(torch.from_numpy(points), 6).numpy()
    overlaps = np.einsum("n,na,nb->ab", weights, values, values)
    np.testing.assert_allclose(overlaps, np.eye(49), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("degree", range(7))
def test_harmonics_add_up_to_legendre_polynomials(degree):
    one, other = directions(seed=1), directions(seed=2)
    sums = (harmonics(one, degree) * harmonics(other, degree)).sum(1)
    expected = (2 * degree + 1) * legendre.legval((one * other).sum(1), [0.0] * degree + [1.0])
    np.testing.assert_allclose(sums, expected, rtol=0, atol=ROUNDING)


def test_components_are_in_the_stated_order():
    x, y, z = points = directions().T
    np.testing.assert_allclose(harmonics(points.T, 1), math.sqrt(3) * points.T, rtol=0, atol=ROUNDING)
    five = math.sqrt(15) * np.stack([x * z, x * y, (3 * y * y - 1) / 12**0.5, y * z, (z * z - x * x) / 2], 1)
    np.testing.assert_allclose(harmonics(points.T, 2), five, rtol=0, atol=ROUNDING)


def test_zero_directions_are_finite_and_so_are_their_derivatives():
    vectors = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    values = spherical_harmonics(vectors, 3)
    (gradient,) = torch.autograd.grad(values.sum(), vectors)
    assert values.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("degrees", TRIANGLES, ids=str)
def test_couplings_are_orthogonal(degrees):
    one = coupling(*degrees)
    assert one.shape == tuple(2 * degree + 1 for degree in degrees)
    for axis, degree in enumerate(degrees):
        flat = np.moveaxis(one, axis, 0).reshape(2 * degree + 1, -1)
        np.testing.assert_allclose(flat @ flat.T * (2 * degree + 1), np.eye(2 * degree + 1), atol=ROUNDING)


@pytest.mark.parametrize("degrees", TRIANGLES, ids=str)
def test_couplings_are_invariant(degrees):
    one = coupling(*degrees)
    for motion in MOTIONS:
        matrices = [representation(Irrep(degree, 1), motion) for degree in degrees]
        turned = np.einsum("ia,jb,kc,abc->ijk", *matrices, one)
        np.testing.assert_allclose(turned, one, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("degrees", TRIANGLES, ids=str)
def test_exchange_and_integrals_fix_the_sign(degrees):
    one, (left, right, out) = coupling(*degrees), degrees
    exchanged = coupling(right, left, out).transpose(1, 0, 2)
    np.testing.assert_allclose(one, exchanged * (-1) ** sum(degrees), rtol=0, atol=ROUNDING)
    points, weights = sphere(exact=sum(degrees))
    integrals = np.einsum("n,na,nb,nc->abc", weights, *(harmonics(points, degree) for degree in degrees))
    size = np.linalg.norm(integrals)
    if sum(degrees) % 2 == 0:
        np.testing.assert_allclose(integrals / size, one, rtol=0, atol=ROUNDING)
    else:
        assert size < ROUNDING


def character(irreps, motion):
    return np.trace(representations(irreps, motion))


def multiplicity(irreps, out, order):
    """How often an irrep is in the symmetric power of others: an average of characters over O(3).

    Classes of rotations are angles with the density (1 - cos θ)/π, and inversion doubles them.
    """
    count, total = 64, 0.0
    for sign in (1, -1):
        for k in range(count):
            angle = 2 * math.pi * (k + 0.5) / count
            powers = [
                sign**n * Rotation.from_rotvec([0.0, n * angle, 0.0]).as_matrix() for n in range(1, order + 1)
            ]
            x = [character(irreps, power) for power in powers]
            symmetric = {
                1: lambda a: a[0],
                2: lambda a: (a[0] ** 2 + a[1]) / 2,
                3: lambda a: (a[0] ** 3 + 3 * a[0] * a[1] + 2 * a[2]) / 6,
            }[order](x)
            total += symmetric * character((out,), powers[0]) * (1 - math.cos(angle)) / count / 2
    return total


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("out", [Irrep(0, 1), Irrep(1, -1), Irrep(1, 1), Irrep(2, 1)], ids=str)
def test_symmetric_couplings_are_complete_symmetric_orthogonal_and_equivariant(out, order):
    irreps = natural_irreps(2)
    basis = symmetric_couplings(irreps, out, order)
    assert len(basis) == pytest.approx(multiplicity(irreps, out, order), abs=1e-9)
    flat = basis.reshape(len(basis), math.prod(basis.shape[1:]))
    norm = out.dimension / math.factorial(order)
    np.testing.assert_allclose(flat @ flat.T, norm * np.eye(len(basis)), rtol=0, atol=ROUNDING)
    for axes in itertools.permutations(range(2, 2 + order)):
        np.testing.assert_allclose(basis, basis.transpose(0, 1, *axes), rtol=0, atol=ROUNDING)
    for motion in MOTIONS:
        turned = np.tensordot(basis, representation(out, motion), (1, 1))
        for _ in range(order):  # axis 1 goes and comes back as the last, until all are in order again
            turned = np.tensordot(turned, representations(irreps, motion), (1, 1))
        np.testing.assert_allclose(turned, basis, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("parities", [(1, 1), (1, -1)])
def test_products_are_equivariant_channel_by_channel(parities):
    left = tuple(Irrep(degree, parities[degree % 2]) for degree in range(3))
    right, out = natural_irreps(2), (Irrep(0, 1), Irrep(1, -1), Irrep(1, 1), Irrep(2, 1))
    module = ChannelwiseProduct(left, right, out)
    assert len(module.paths) == len(paths(left, right, out)) > 5
    generator = torch.Generator().manual_seed(1)
    shapes = (4, dimension(left), 3), (4, dimension(right)), (4, len(module.paths), 3)
    x, y, w = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    results = module(x, y, w, torch.clone)
    for motion in MOTIONS:
        again = module(moved(motion, left, x), moved(motion, right, y[..., None]).squeeze(-1), w, torch.clone)
        for path, before, after in zip(module.paths, results, again, strict=True):
            torch.testing.assert_close(after, moved(motion, (out[path.out],), before), rtol=0, atol=ROUNDING)
    for channel in range(3):
        one = slice(channel, channel + 1)
        for alone, every in zip(module(x[..., one], y, w[..., one], torch.clone), results, strict=True):
            torch.testing.assert_close(alone, every[..., one], rtol=0, atol=ROUNDING)


def test_product_is_the_sum_over_its_coupling():
    irreps = natural_irreps(2)
    module = ChannelwiseProduct(irreps, irreps, irreps)
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(1, 9, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    ones = torch.ones(1, len(module.paths), 1, dtype=torch.float64)
    results = module(x, y[..., 0], ones, torch.clone)
    places = slices(irreps)
    for path, result in zip(module.paths, results, strict=True):
        one = torch.from_numpy(np.array(coupling(*path))) * math.sqrt(2 * path.out + 1)
        expected = torch.einsum("a,b,abc->c", x[0, places[path.left], 0], y[0, places[path.right], 0], one)
        torch.testing.assert_close(result[0, :, 0], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_contraction_is_equivariant_and_the_polynomial_of_its_basis(order):
    irreps, out = natural_irreps(2), natural_irreps(1)
    torch.manual_seed(3)
    module = SymmetricContraction(irreps, out, order, species=2, channels=3)
    x, rows = torch.randn(5, 9, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1])
    result = module(x, rows)
    for motion in MOTIONS:
        torch.testing.assert_close(
            module(moved(motion, irreps, x), rows), moved(motion, out, result), rtol=0, atol=10 * ROUNDING
        )
    expected = torch.zeros_like(result)
    for number, (irrep, place) in enumerate(zip(out, slices(out), strict=True)):
        for power in range(1, order + 1):
            basis = torch.from_numpy(np.array(symmetric_couplings(irreps, irrep, power)))
            letters = "pqr"[:power]
            factors = ",".join(f"n{letter}c" for letter in letters)
            weights = module.weights[f"{number}_{power}"][rows]
            expected[:, place] += torch.einsum(
                f"ka{letters},nkc,{factors}->nac", basis, weights, *[x] * power
            ).detach()
    torch.testing.assert_close(result, expected, rtol=0, atol=10 * ROUNDING)


@pytest.mark.parametrize("order", [2, 3])
def test_contraction_has_its_own_derivatives_of_both_orders(order):
    """It is differentiated by hand; forces are trained on, and Hessians asked for, with the second derivative."""
    irreps = natural_irreps(1)
    torch.manual_seed(6)
    module, rows = SymmetricContraction(irreps, irreps, order, species=2, channels=1), torch.tensor([1, 0])
    names = list(dict(module.named_parameters()))

    def contract(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x, rows))

    inputs = torch.randn(2, 4, 1, dtype=torch.float64), *(weight.detach() for weight in module.parameters())
    inputs = [values.requires_grad_() for values in inputs]
    assert torch.autograd.gradcheck(contract, inputs)
    assert torch.autograd.gradgradcheck(contract, inputs)


@pytest.mark.parametrize("species", [2, FEW + 1])
def test_linear_maps_are_equivariant_and_know_the_species(species):
    irreps = natural_irreps(2)
    torch.manual_seed(4)
    plain, by_species = IrrepLinear([3] * 3, 3), SpeciesLinear(irreps, species, channels=3)
    x, rows = torch.randn(4, 9, 3, dtype=torch.float64), torch.tensor([0, 1, species - 1, 0])

    def both(values):
        return plain([values[:, place] for place in slices(irreps)]) + by_species(values, rows)

    for motion in MOTIONS:
        torch.testing.assert_close(
            both(moved(motion, irreps, x)), moved(motion, irreps, both(x)), rtol=0, atol=ROUNDING
        )
    for atom, row in enumerate(rows):
        for number, place in enumerate(slices(irreps)):
            expected = x[atom, place] @ by_species.weight[row, number]
            torch.testing.assert_close(by_species(x, rows)[atom, place], expected, rtol=0, atol=ROUNDING)


def test_irreps_are_read_and_written():
    assert parse_irreps("128x0e + 128x1o+2e") == [(128, Irrep(0, 1)), (128, Irrep(1, -1)), (1, Irrep(2, 1))]
    assert "+".join(map(str, natural_irreps(3))) == "0e+1o+2e+3o"
    assert [str(irrep) for irrep in Irrep(1, -1).product(Irrep(2, 1))] == ["1o", "2o", "3o"]
    with pytest.raises(BackboneError, match="128x0q"):
        parse_irreps("128x0q")
