"""Contractions and maps as operators are what their definitions in plain operations are."""

from __future__ import annotations

import pytest
import torch
from torch.library import opcheck

from halocline.plugins.equivariance import SymmetricContraction, natural_irreps
from halocline.plugins.fused import contraction
from halocline.plugins.fused.contraction import compiled, contracted
from halocline.plugins.fused.maps import OPERATORS, Maps, mapped, packed
from halocline.plugins.fused.polynomials import Shape, coefficients, monomials

#: Of the largest value: sums of a few hundred terms in other orders.
ROUNDING = {torch.float64: 1e-13, torch.float32: 3e-6}

SHAPES = [Shape(3, 0, 3), Shape(3, 1, 3), Shape(3, 2, 3), Shape(2, 2, 2), Shape(1, 0, 1), Shape(0, 0, 3)]
CHANNELS = 32


def case(shape, *, species=3, atoms=37, dtype=torch.float64):
    """The definition, features of atoms whose species are mixed, and cotangents."""
    torch.manual_seed(sum(shape))
    irreps, out = natural_irreps(shape.degree), natural_irreps(shape.out_degree)
    plain = SymmetricContraction(irreps, out, shape.order, species, CHANNELS).requires_grad_(False)
    x = torch.randn(shape.features, atoms, CHANNELS, dtype=torch.float64).to(dtype)
    gradient = torch.randn(shape.results, atoms, CHANNELS, dtype=torch.float64).to(dtype)
    rows = torch.randint(0, species, (atoms,))
    return plain, coefficients(plain, shape).to(dtype), x, rows, gradient


def require_near(found, expected, dtype):
    limit = ROUNDING[dtype] * max(1.0, float(expected.abs().max()) if expected.numel() else 0.0)
    torch.testing.assert_close(found, expected.to(dtype), rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_polynomials_are_the_contraction(shape, dtype):
    plain, numbers, x, rows, gradient = case(shape, dtype=dtype)
    exact = x.double().requires_grad_(True)
    expected = plain(exact.transpose(0, 1), rows).transpose(0, 1)
    (pulled,) = torch.autograd.grad(expected, exact, gradient.double())
    x.requires_grad_(True)
    found = contracted(x, numbers, rows, shape)
    require_near(found.detach(), expected.detach(), dtype)
    require_near(*torch.autograd.grad(found, x, gradient), pulled, dtype)


@pytest.mark.parametrize("shape", SHAPES[1:3], ids=str)
def test_composites_of_contractions_are_the_operators(shape):
    _, numbers, x, rows, gradient = case(shape, atoms=5)
    forward, backward = (each.composite for each in contraction.OPERATORS)
    ops = torch.ops.halocline
    require_near(forward(x, numbers, rows, *shape), ops.symmetric_contraction(x, numbers, rows, *shape), x.dtype)
    expected = ops.symmetric_contraction_vjp(gradient, x, numbers, rows, *shape)
    require_near(backward(gradient, x, numbers, rows, *shape), expected, x.dtype)


def test_there_are_as_many_monomials_as_couplings_leave():
    cubic = [sum(len(factors) == 3 for factors in own) for own in monomials(Shape(3, 1, 3))]
    assert cubic == [77, 98, 82, 98]


@pytest.mark.parametrize("atoms", [0, 1, 33])
def test_any_number_of_atoms_gives_the_same_bits_in_any_layout(atoms):
    shape = Shape(2, 1, 3)
    _, numbers, x, rows, _ = case(shape)
    whole = contracted(x, numbers, rows, shape)
    assert torch.equal(contracted(x[:, :atoms], numbers, rows[:atoms], shape), whole[:, :atoms])


def test_one_and_two_threads_give_the_same_bits():
    shape = Shape(3, 1, 3)
    _, numbers, x, rows, gradient = case(shape, atoms=301, dtype=torch.float32)
    before, found, ops = torch.get_num_threads(), [], torch.ops.halocline
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            values = ops.symmetric_contraction(x, numbers, rows, *shape)
            found.append((values, ops.symmetric_contraction_vjp(gradient, x, numbers, rows, *shape)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def map_case(species, outer, inner):
    """Arrays of ``outer`` and ``inner`` atoms, and matrices for two of three parts of one, and for the other."""
    torch.manual_seed(7)
    first, second = (torch.randn(shape, dtype=torch.float64) for shape in ((9, outer, 5), (inner, 7)))
    maps = Maps((2, 1), (1, 3, 1), (5, 5, 7), (1, species, species), (0, 1, 0))
    rows = sum(s * k for s, k in zip(maps.species, maps.widths, strict=True))
    matrices = torch.randn(rows, 6, dtype=torch.float64)
    return first, second, matrices, packed(matrices, maps), torch.arange(inner) * 7 % species, maps


def vjp_arguments(gradient, whole):
    first, second, *others, maps = whole
    return gradient, *others, list(first.shape), list(second.shape), maps.described


@pytest.mark.parametrize("sizes", [(7, 7), (9, 5), (4, 0), (3, 1)], ids=str)
@pytest.mark.parametrize("species", [1, 3])
def test_maps_are_products_with_the_matrix_of_each_atom(species, sizes):
    first, second, matrices, panels, rows, maps = map_case(species, *sizes)
    arrays = [first.requires_grad_(True), second.requires_grad_(True)]
    alone, *of_species = torch.split(matrices, [5, species * 5, species * 7])
    vectors, others = (torch.unflatten(each, 0, (species, -1))[rows] for each in of_species)
    scalars = first[0, : len(rows)] @ alone + torch.einsum("nk,nkc->nc", second, others)
    expected = torch.cat([scalars[None], torch.einsum("mnk,nkc->mnc", first[1:4, : len(rows)], vectors)])
    found = mapped(first, second, matrices, panels, rows, maps)
    require_near(found.detach(), expected.detach(), torch.float64)
    gradient = torch.randn_like(found)
    pulled = torch.autograd.grad(found, arrays, gradient, retain_graph=True)
    for own, reference in zip(pulled, torch.autograd.grad(expected, arrays, gradient), strict=True):
        require_near(own, reference, torch.float64)
    (one,) = torch.autograd.grad(mapped(first.detach(), second, matrices, panels, rows, maps), second, gradient)
    assert torch.equal(one, pulled[1])


def test_threads_and_other_atoms_change_no_bit_of_maps():
    first, second, matrices, panels, rows, maps = map_case(3, 400, 400)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(mapped(first, second, matrices, panels, rows, maps))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    alone = mapped(first[:, 7:8].contiguous(), second[7:8], matrices, panels, rows[7:8], maps)
    assert torch.equal(alone, found[0][:, 7:8])


@pytest.mark.parametrize("species", [1, 3])
def test_composites_of_maps_are_the_operators(species):
    whole = *arguments, maps = map_case(species, 9, 5)
    forward, backward = (each.composite for each in OPERATORS)
    found = mapped(*whole)
    require_near(forward(*arguments, maps.described), found, torch.float64)
    arguments = vjp_arguments(found, whole)
    expected = torch.ops.halocline.irrep_maps_vjp(*arguments)
    for own, reference in zip(backward(*arguments), expected, strict=True):
        require_near(own, reference, torch.float64)


def test_torch_finds_nothing_wrong_with_the_operators():
    shape = Shape(2, 1, 3)
    _, numbers, x, rows, gradient = case(shape)
    compiled(shape, x.dtype)
    opcheck(torch.ops.halocline.symmetric_contraction.default, (x.requires_grad_(True), numbers, rows, *shape))
    x = x.detach()
    opcheck(torch.ops.halocline.symmetric_contraction_vjp.default, (gradient, x, numbers, rows, *shape))
    for sizes in ((5, 5), (9, 5)):
        whole = map_case(3, *sizes)
        opcheck(torch.ops.halocline.irrep_maps.default, (*whole[:-1], whole[-1].described))
        gradient = torch.randn(4, sizes[1], 6, dtype=torch.float64)
        opcheck(torch.ops.halocline.irrep_maps_vjp.default, vjp_arguments(gradient, whole))
