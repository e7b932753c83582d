"""Compiled channelwise products against the plain one: values, derivatives, tables, parts, threads and NaN."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import Tensor

from halocline.aggregation import RadialFunction, TabulatedFunction
from halocline.errors import KernelError
from halocline.native import library
from halocline.plugins.equivariance import Irrep, natural_irreps, paths
from halocline.plugins.fused import edge_library
from halocline.plugins.fused import product as operators
from halocline.plugins.fused.panels import spline_grid, spline_panels, spline_values
from halocline.plugins.fused.product import FusedProduct
from halocline.plugins.fused.product_library import ProductLibrary
from halocline.plugins.kernels.tables import tabulate

#: Of sums of some tens of products, relative to the largest, in float64 and in float32.
EXACT, SINGLE = 1e-13, 3e-6

#: Highest degree of features and of harmonics, and channels: one vector or less, wide slices of several, some that
#: are left over, and a remainder.
SMALL, LARGE = [(0, 1, 8), (0, 3, 128), (1, 2, 8)], [(1, 3, 52), (2, 3, 20)]
PRODUCTS = [*SMALL, *(pytest.param(sizes, marks=pytest.mark.slow) for sizes in LARGE)]
IN, OUT, SPECIES = 30, 17, 2


class Waves(RadialFunction):
    """Cosines that end smoothly, for each pair of kinds others."""

    start, end = 1e-6, 5.0

    def __init__(self, channels: int, kinds: int) -> None:
        super().__init__()
        self.channels = channels
        self.frequencies = torch.linspace(0.5, 3.0, channels, dtype=torch.float64)
        if kinds:
            self.pairs = torch.tensor([[0, 1], [1, 2]])

    def forward(self, distances: Tensor, numbers: Tensor | None = None) -> Tensor:
        scale = 1.0 if numbers is None else (1.0 + 0.3 * numbers.to(distances.dtype))[..., None]
        envelope = (1.0 - (distances / self.end).clamp(max=1.0) ** 2) ** 3
        return torch.cos(self.frequencies * scale * distances[..., None]) * envelope[..., None]


class Case:
    """A product and random arguments: a part, with receivers that have no edge and edges beyond the end."""

    def __init__(self, left: int, right: int, channels: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        irreps = natural_irreps(left), natural_irreps(right), natural_irreps(right)
        self.channels, self.paths = channels, len(paths(*irreps))
        self.product = FusedProduct(*irreps, channels)
        counts = torch.randint(0, 40, (OUT,))
        counts[[0, 3, OUT - 1]] = 0
        self.starts, edges = counts.cumsum(0) - counts, int(counts.sum())
        self.vectors = torch.randn(edges, 3, dtype=torch.float64) * 2.0
        self.senders = torch.randint(0, IN, (edges,))
        self.receivers = torch.repeat_interleave(torch.arange(OUT), counts)
        self.x = torch.randn((left + 1) ** 2, IN, channels, dtype=torch.float64)

    def table(self, kinds: int) -> tuple:
        function = tabulate(Waves(self.paths * self.channels, kinds))
        chosen = torch.randint(0, kinds, (IN,)) if kinds else None
        return function, (spline_panels(function, self.channels), *spline_grid(function)), (chosen, function.pairs)

    def weights(self, rows: Tensor | None) -> Tensor:
        count = len(self.senders) if rows is None else int(rows.max()) + 3  # some rows belong to no edge
        return torch.randn(count, self.paths * self.channels, dtype=torch.float64)


def of(name: str, *arguments):
    """What an operator of the product gives."""
    return getattr(torch.ops.halocline, f"product_{name}")(*arguments)


def require_equal(found, expected, bound: float = EXACT) -> None:
    found, expected = ([each] if isinstance(each, Tensor) else list(each) for each in (found, expected))
    for ours, plain in zip(found, expected, strict=True):
        assert (ours.shape, ours.dtype) == (plain.shape, plain.dtype)
        assert float((ours - plain).abs().max()) <= bound * float(plain.abs().max())


@pytest.mark.parametrize("sizes", PRODUCTS, ids=str)
@pytest.mark.parametrize("kinds", [0, SPECIES])
def test_products_with_tables_are_the_plain_ones(sizes, kinds):
    case = Case(*sizes)
    function, (table, *grid), ends = case.table(kinds)
    arguments = case.vectors, table, *grid, case.senders, case.starts, *ends, case.product._spec
    sums = of("tabulated", case.x, *arguments)
    require_equal(sums, operators._plain_tabulated(case.x, *arguments))
    numbers = None if function.pairs is None else function.pairs[ends[0][case.senders], ends[0][case.receivers]]
    weights = function(case.vectors.norm(dim=1), numbers)
    require_equal(
        sums, of("weighted", case.x, case.vectors, weights, case.senders, case.starts, None, arguments[-1])
    )
    pull = torch.randn_like(sums)
    plain = operators._plain_pull(operators._plain_tabulated, 2)
    require_equal(of("tabulated_pull", pull, case.x, *arguments), plain(pull, case.x, *arguments))


@pytest.mark.parametrize("sizes", PRODUCTS, ids=str)
@pytest.mark.parametrize("shared", [False, True], ids=["edges", "pairs"])
def test_products_with_given_weights_are_the_plain_ones(sizes, shared):
    case = Case(*sizes)
    rows = torch.randint(0, len(case.senders) // 2, (len(case.senders),)) if shared else None
    arguments = case.x, case.vectors, case.weights(rows), case.senders, case.starts, rows, case.product._spec
    sums = of("weighted", *arguments)
    require_equal(sums, operators._plain_weighted(*arguments))
    pull = torch.randn_like(sums)
    require_equal(
        of("weighted_pull", pull, *arguments),
        operators._plain_pull(operators._plain_weighted, 3)(pull, *arguments),
    )


def test_results_have_components_outermost_and_paths_beside_channels():
    case = Case(1, 2, 8)
    weights = case.weights(None)
    sums = case.product.weighted(case.x, case.vectors, weights, case.senders, case.starts)
    irreps = natural_irreps(1), natural_irreps(2), natural_irreps(2)
    of_out = [sum(path.out == degree for path in paths(*irreps)) for degree in range(3)]
    assert len(sums) == OUT * (of_out[0] + 3 * of_out[1] + 5 * of_out[2])
    # The first path is a scalar of the sender times its weight.
    scalars = sums[: OUT * of_out[0]].view(OUT, of_out[0], case.channels)
    messages = case.x[0][case.senders] * weights[:, : case.channels]
    expected = torch.zeros(OUT, case.channels, dtype=torch.float64).index_add(0, case.receivers, messages)
    require_equal(scalars[:, 0], expected)


@pytest.mark.parametrize("tabulated", [False, True])
def test_single_precision_is_as_good_as_its_digits(tabulated):
    case = Case(1, 2, 8)
    results = []
    for dtype in (torch.float64, torch.float32):
        x, vectors = case.x.to(dtype), case.vectors.to(dtype)
        if tabulated:
            torch.manual_seed(1)
            _, (table, *grid), _ = case.table(0)
            rest = table.to(dtype), *grid, case.senders, case.starts, None, None, case.product._spec
        else:
            torch.manual_seed(1)
            rest = case.weights(None).to(dtype), case.senders, case.starts, None, case.product._spec
        name = "tabulated" if tabulated else "weighted"
        sums = of(name, x, vectors, *rest)
        torch.manual_seed(2)
        pull = torch.randn(sums.shape, dtype=torch.float64).to(dtype)
        results.append([sums, *of(f"{name}_pull", pull, x, vectors, *rest)])
    require_equal([each.double() for each in results[1]], results[0], SINGLE)


def test_torch_takes_the_operators():
    case = Case(0, 1, 8)
    _, (table, *grid), ends = case.table(SPECIES)
    x, vectors = (each.requires_grad_(True) for each in (case.x, case.vectors))
    tabulated = x, vectors, table, *grid, case.senders, case.starts, *ends, case.product._spec
    weighted = x, vectors, case.weights(None).requires_grad_(True), case.senders, case.starts, None, tabulated[-1]
    for name, arguments in (("tabulated", tabulated), ("weighted", weighted)):
        overload = getattr(torch.ops.halocline, f"product_{name}").default
        torch.library.opcheck(overload, arguments)
        pull = torch.randn_like(overload(*arguments)).detach()
        plain = [each.detach() if isinstance(each, Tensor) else each for each in arguments]
        torch.library.opcheck(getattr(torch.ops.halocline, f"product_{name}_pull").default, (pull, *plain))


def test_derivatives_are_those_of_differences():
    case = Case(1, 2, 8)
    _, (table, *grid), _ = case.table(0)
    case.starts, keep = case.starts[:6], int(case.starts[6])
    x, vectors = case.x.requires_grad_(True), case.vectors[:keep].clone().requires_grad_(True)

    def energy(x: Tensor, vectors: Tensor) -> Tensor:
        return case.product.tabulated(x, vectors, table, tuple(grid), case.senders[:keep], case.starts)

    assert torch.autograd.gradcheck(energy, (x, vectors), fast_mode=True)


@pytest.mark.parametrize("tabulated", [False, True])
def test_any_number_of_threads_gives_the_same_bits(tabulated):
    case = Case(0, 3, 128)
    rest = case.senders, case.starts
    if tabulated:
        _, (table, *grid), _ = case.table(0)
        name, arguments = "tabulated", (case.x, case.vectors, table, *grid, *rest, None, None, case.product._spec)
    else:
        rows = torch.randint(0, len(case.senders) // 2, (len(case.senders),))
        name, arguments = "weighted", (case.x, case.vectors, case.weights(rows), *rest, rows, case.product._spec)
    pull, results, before = None, [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            sums = of(name, *arguments)
            pull = torch.randn_like(sums) if pull is None else pull
            results.append([sums, *of(f"{name}_pull", pull, *arguments)])
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(map(torch.equal, results[0], others))


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["-mno-avx512f", "-mno-avx2"], ids=["256 bits", "128 bits"])
def test_narrower_vectors_give_the_same(monkeypatch, flag):
    monkeypatch.setattr(edge_library, "library", partial(library, flags=(flag,)))
    case = Case(1, 3, 20)
    _, (table, *grid), _ = case.table(0)
    edges = edge_library.Edges(case.vectors, case.senders, case.starts)
    weights = edge_library.Table(table, *grid, None, None, 0)
    narrow = ProductLibrary(case.product._spec)
    sums = narrow.sums(case.x, edges, weights)
    arguments = case.vectors, table, *grid, case.senders, case.starts, None, None, case.product._spec
    require_equal(sums, operators._plain_tabulated(case.x, *arguments))
    pull = torch.randn_like(sums)
    plain = operators._plain_pull(operators._plain_tabulated, 2)
    require_equal(narrow.pull(pull, case.x, edges, weights)[:2], plain(pull, case.x, *arguments))


def test_two_callers_do_not_meet():
    case = Case(1, 2, 8)
    weights = case.weights(None)
    arguments = case.x, case.vectors, weights, case.senders, case.starts, None, case.product._spec
    pull = torch.randn_like(of("weighted", *arguments))
    alone = of("weighted_pull", pull, *arguments)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda _: of("weighted_pull", pull, *arguments), range(8)):
            assert all(map(torch.equal, found, alone))


def test_nan_reaches_the_receiver_and_nobody_else():
    case = Case(1, 2, 8)
    _, (table, *grid), _ = case.table(0)
    edge = len(case.senders) // 2
    case.vectors[edge, 1] = torch.nan
    rest = table, *grid, case.senders, case.starts, None, None, case.product._spec
    sums = of("tabulated", case.x, case.vectors, *rest)
    bad = torch.zeros(OUT, dtype=torch.bool)
    bad[case.receivers[edge]] = True
    scalars = sums[: 2 * OUT].view(OUT, -1)
    assert torch.equal(scalars.isnan().all(1), bad)
    assert torch.equal(scalars.isnan().any(1), bad)
    _, by_vectors = of("tabulated_pull", torch.ones_like(sums), case.x, case.vectors, *rest)
    assert torch.equal(by_vectors.isnan().any(1), torch.arange(len(case.senders)) == edge)


def test_nothing_is_added_up_of_no_edges():
    case = Case(0, 1, 8)
    none = case.vectors[:0], case.weights(None)[:0], case.senders[:0], torch.zeros(OUT, dtype=torch.int64), None
    sums = of("weighted", case.x, *none, case.product._spec)
    assert sums.shape == (4 * OUT, 8)
    assert not sums.any()
    by_x, *others = of("weighted_pull", torch.ones_like(sums), case.x, *none, case.product._spec)
    assert not by_x.any()
    assert [len(each) for each in others] == [0, 0]


def test_products_are_copied_and_pickled_with_their_stage():
    case = Case(0, 1, 8)
    weights = case.weights(None)
    expected = case.product.weighted(case.x, case.vectors, weights, case.senders, case.starts)
    for same in (copy.deepcopy(case.product), pickle.loads(pickle.dumps(case.product))):
        assert torch.equal(same.weighted(case.x, case.vectors, weights, case.senders, case.starts), expected)


def test_splines_are_the_functions_of_their_table():
    function = tabulate(Waves(3 * 20, SPECIES))
    panels, (start, per_length) = spline_panels(function, 20), spline_grid(function)
    assert panels.shape == (2, 3, function.intervals + 6, 3, 2, 16)
    distances = torch.tensor([0.0, 1e-5, 0.3, 1.0, 2.5, 4.9999, 5.0, 5.1, 80.0], dtype=torch.float64)
    numbers = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
    found = spline_values(distances, panels, start, per_length, 20, numbers)
    require_equal(found.flatten(1), function(distances, numbers), 1e-12)


def test_polynomials_that_are_no_splines_are_refused():
    coefficients = torch.randn(1, 8, 4, 16, dtype=torch.float64)
    with pytest.raises(KernelError, match="no splines"):
        spline_panels(TabulatedFunction(coefficients, torch.zeros(1, 16, dtype=torch.float64), 0.0, 5.0), 16)


def test_harmonics_of_other_irreps_are_refused():
    with pytest.raises(KernelError, match="1o"):
        FusedProduct(natural_irreps(0), (Irrep(1, -1),), natural_irreps(1), 8)
