"""MACE's kernels compile for a GPU that need not be there; what is generated are modules."""

from __future__ import annotations

import inspect

import pytest
import test_fused_contraction
import test_fused_density
import test_fused_product
import torch
from test_triton_operators import needs_triton

from halocline.plugins.fused.polynomials import Shape

#: Degrees of features and harmonics, and channels: light, and what published models have.
PRODUCTS = [(0, 1, 24), pytest.param((1, 3, 128), marks=pytest.mark.slow)]
DTYPES = [torch.float32, torch.float64]


def require_code(operator, arguments, dtype):
    """For an H100: of what an operator launches."""
    from gpu_code import compiled, launches_of

    cast = [
        each.to(dtype) if isinstance(each, torch.Tensor) and each.is_floating_point() else each
        for each in arguments
    ]
    launches = launches_of(getattr(torch.ops.halocline, operator).default, cast)
    assert launches
    for launch in launches:
        assert compiled(*launch)["cubin"]


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", PRODUCTS, ids=str)
def test_products_with_tables_compile(sizes, dtype):
    case = test_fused_product.Case(*sizes)
    _, (table, *grid), ends = case.table(test_fused_product.SPECIES)
    arguments = case.x, case.vectors, table, *grid, case.senders, case.starts, *ends, case.product._spec
    require_code("product_tabulated", arguments, dtype)
    pull = torch.ones(torch.ops.halocline.product_tabulated(*arguments).shape, dtype=torch.float64)
    require_code("product_tabulated_pull", (pull, *arguments), dtype)


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", PRODUCTS, ids=str)
def test_products_with_given_weights_compile(sizes, dtype):
    case = test_fused_product.Case(*sizes)
    rows = torch.arange(len(case.senders)) // 2
    weights = case.weights(rows)
    arguments = case.x, case.vectors, weights, case.senders, case.starts, rows, case.product._spec
    pull = torch.ones(torch.ops.halocline.product_weighted(*arguments).shape, dtype=torch.float64)
    require_code("product_weighted_pull", (pull, *arguments), dtype)


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_densities_compile(dtype):
    case = test_fused_density.Case(1, 8, 3)
    for way, arguments in (("tabulated", case.tabulated()), ("weighted", case.weighted(shared=True))):
        require_code(f"density_{way}", arguments, dtype)
        pull = torch.ones(getattr(torch.ops.halocline, f"density_{way}")(*arguments).shape, dtype=torch.float64)
        require_code(f"density_{way}_pull", (pull, *arguments), dtype)


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("species", [1, 3])
def test_contractions_compile(species, dtype):
    shape = Shape(3, 1, 3)
    _, numbers, x, rows, gradient = test_fused_contraction.case(shape, species=species)
    require_code("symmetric_contraction", (x, numbers, rows, *shape), dtype)
    require_code("symmetric_contraction_vjp", (gradient, x, numbers, rows, *shape), dtype)


@needs_triton
def test_generated_modules_have_sources_and_are_made_once():
    from halocline.plugins.triton_operators.generated import module_of

    text = "def twice(x):\n    return 2 * x\n"
    made = module_of("test", text)
    assert made.twice(3) == 6
    assert inspect.getsource(made.twice) == text
    assert module_of("test", text) is made
    assert module_of("test", text.replace("2", "3")).twice(3) == 9
