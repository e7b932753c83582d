"""Triton's products, densities and contractions are their definitions."""

from __future__ import annotations

import pytest
import test_fused_contraction
import test_fused_density
import test_fused_product
import torch
from interpreted.on_cpu import CALLS, as_on_gpu
from test_fused_contraction import require_near as require_close
from test_fused_product import SINGLE, SPECIES, require_equal

from halocline.plugins.fused import contraction, density, product
from halocline.plugins.fused.polynomials import Shape
from halocline.program.operators import composites

as_on_gpu(*contraction.OPERATORS, *density.OPERATORS, *product.OPERATORS)

#: Of the parts that tests on CPUs take, as many receivers as Triton's interpreter is patient for. One has no edge.
RECEIVERS = 4


def product_case(*sizes):
    return _short(test_fused_product.Case(*sizes))


def density_case(*sizes):
    return _short(test_fused_density.Case(*sizes))


def _short(case):
    edges = int(case.starts[RECEIVERS])
    case.starts, case.vectors, case.senders = case.starts[:RECEIVERS], case.vectors[:edges], case.senders[:edges]
    return case


def of_table(case, kinds=SPECIES):
    function, (table, *grid), _ = case.table(kinds)
    chosen = torch.randint(0, kinds, (test_fused_product.IN,)) if kinds else None
    rest = case.senders, case.starts, chosen, function.pairs, case.product._spec
    return case.x, case.vectors, table, *grid, *rest


def given(case, shared):
    rows = torch.randint(0, len(case.senders) // 2, (len(case.senders),)) if shared else None
    return case.x, case.vectors, case.weights(rows), case.senders, case.starts, rows, case.product._spec


def require_definition(name, *arguments):
    """Of an operator and of its derivative, in float64."""
    found = _checked(name, arguments)
    torch.manual_seed(5)
    return found, _checked(f"{name}_pull", [torch.randn_like(found), *arguments])


def _checked(name, arguments):
    overload, before = getattr(torch.ops.halocline, name).default, CALLS[name]
    found = overload(*arguments)
    assert CALLS[name] == before + 1
    require_equal(found, composites()[overload](*arguments))
    return found


@pytest.mark.parametrize("sizes", [(0, 3, 16), (1, 2, 20), (2, 1, 8), (0, 0, 8)], ids=str)
def test_products_with_tables(sizes):
    require_definition("product_tabulated", *of_table(product_case(*sizes)))


@pytest.mark.parametrize("shared", [False, True], ids=["edges", "pairs"])
def test_products_with_given_weights(shared):
    require_definition("product_weighted", *given(product_case(1, 2, 8), shared))


@pytest.mark.parametrize("sizes", [(3, 16, 1), (2, 24, 3), (0, 8, 2)], ids=str)
def test_densities_with_tables(sizes):
    case = density_case(*sizes)
    require_definition("density_tabulated", *case.tabulated())


def test_results_are_the_same_to_the_bit():
    arguments = given(product_case(0, 1, 8), shared=True)
    (sums, pulls), (same, again) = (require_definition("product_weighted", *arguments) for _ in range(2))
    assert all(map(torch.equal, (sums, *pulls), (same, *again)))


@pytest.mark.parametrize("shared", [False, True], ids=["edges", "pairs"])
def test_densities_of_given_values(shared):
    require_definition("density_weighted", *density_case(1, 8, 3).weighted(shared))


def test_single_precision_is_as_good_as_its_digits():
    wide = of_table(product_case(1, 1, 8), 0)
    narrow = [
        each.float() if isinstance(each, torch.Tensor) and each.is_floating_point() else each for each in wide
    ]
    results = []
    for arguments in (narrow, wide):
        sums = torch.ops.halocline.product_tabulated(*arguments)
        torch.manual_seed(3)
        pull = torch.randn(sums.shape).to(sums)
        results.append([sums, *torch.ops.halocline.product_tabulated_pull(pull, *arguments)])
    require_equal([each.double() for each in results[0]], results[1], SINGLE)


@pytest.mark.parametrize("name", ["product", "density"])
def test_nan_reaches_the_receiver_and_nobody_else(name):
    case = product_case(0, 1, 8) if name == "product" else density_case(1, 8, 1)
    arguments = of_table(case, 0) if name == "product" else case.tabulated()
    edge = len(case.senders) // 2
    case.vectors[edge, 1] = torch.nan
    sums = getattr(torch.ops.halocline, f"{name}_tabulated")(*arguments)
    receiver = int(torch.searchsorted(case.starts, edge, right=True)) - 1
    scalars = sums[:RECEIVERS] if name == "product" else sums[0]
    assert torch.equal(scalars.isnan().all(1), torch.arange(RECEIVERS) == receiver)
    assert torch.equal(scalars.isnan().any(1), torch.arange(RECEIVERS) == receiver)


def test_nothing_is_added_up_of_no_edges():
    case = product_case(0, 1, 8)
    none = case.vectors[:0], case.weights(None)[:0], case.senders[:0], torch.zeros_like(case.starts), None
    sums = torch.ops.halocline.product_weighted(case.x, *none, case.product._spec)
    found = torch.ops.halocline.product_weighted_pull(sums + 1.0, case.x, *none, case.product._spec)
    assert [int(each.count_nonzero()) for each in (sums, *found)] == [0] * 4


@pytest.mark.parametrize(
    ("shape", "species", "dtype"),
    [(Shape(2, 1, 3), 3, torch.float64), (Shape(3, 0, 2), 1, torch.float32), (Shape(0, 0, 3), 3, torch.float64)],
    ids=str,
)
def test_contractions_are_their_definitions(shape, species, dtype, monkeypatch):
    monkeypatch.setattr(test_fused_contraction, "CHANNELS", 48)
    _, numbers, x, rows, gradient = test_fused_contraction.case(shape, species=species, atoms=9, dtype=dtype)
    for operator, arguments in zip(contraction.OPERATORS, ([x], [gradient, x]), strict=True):
        wide = [each.double() for each in (*arguments, numbers)]
        overload = getattr(torch.ops.halocline, operator.name.partition("::")[2])
        require_close(overload(*arguments, numbers, rows, *shape), operator.composite(*wide, rows, *shape), dtype)
