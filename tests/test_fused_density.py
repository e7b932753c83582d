"""Compiled sums of radial functions times harmonics by species, against plain operations."""

from __future__ import annotations

import pytest
import torch
from test_fused_product import IN, OUT, SINGLE, Waves, require_equal
from torch import Tensor

from halocline.plugins.fused import density as operators
from halocline.plugins.fused.density import FusedDensity
from halocline.plugins.fused.panels import spline_grid, spline_panels
from halocline.plugins.kernels.tables import tabulate

#: Highest degree of harmonics, functions, and species: one part of a vector, several, and what is left over.
DENSITIES = [(1, 8, 1), (3, 32, 3), pytest.param((2, 52, 2), marks=pytest.mark.slow)]


class Case:
    """Random arguments of a part, with receivers that have no edge; the last of several species is absent."""

    def __init__(self, max_degree: int, functions: int, species: int) -> None:
        torch.manual_seed(0)
        self.density, self.sizes = FusedDensity(max_degree, functions), (species, max_degree, functions)
        counts = torch.randint(0, 40, (OUT,))
        counts[[0, 3, OUT - 1]] = 0
        self.starts, edges = counts.cumsum(0) - counts, int(counts.sum())
        self.vectors = torch.randn(edges, 3, dtype=torch.float64) * 2.0
        self.senders = torch.randint(0, IN, (edges,))
        self.kinds = torch.randint(0, max(1, species - 1), (IN,)) if species > 1 else None

    def tabulated(self, dtype: torch.dtype = torch.float64) -> tuple:
        species, _, functions = self.sizes
        function = tabulate(Waves(functions, kinds=species == 2))
        table, grid = spline_panels(function, functions), spline_grid(function)
        vectors = self.vectors.to(dtype)
        return vectors, table.to(dtype), *grid, self.senders, self.starts, self.kinds, function.pairs, *self.sizes

    def weighted(self, shared: bool, dtype: torch.dtype = torch.float64) -> tuple:
        torch.manual_seed(1)
        edges = len(self.senders)
        rows = torch.randint(0, edges // 2, (edges,)) if shared else None
        weights = torch.randn(edges, self.sizes[2], dtype=torch.float64).to(dtype)
        return self.vectors.to(dtype), weights, self.senders, self.starts, self.kinds, rows, *self.sizes


def of(name: str, *arguments):
    """What an operator gives."""
    return getattr(torch.ops.halocline, f"density_{name}")(*arguments)


@pytest.mark.parametrize("sizes", DENSITIES, ids=str)
def test_sums_with_tables_are_the_plain_ones(sizes):
    arguments = Case(*sizes).tabulated()
    sums = of("tabulated", *arguments)
    require_equal(sums, operators._plain_tabulated(*arguments))
    pull = torch.randn_like(sums)
    require_equal(of("tabulated_pull", pull, *arguments), operators._plain_pull_tabulated(pull, *arguments))


@pytest.mark.parametrize("sizes", DENSITIES, ids=str)
@pytest.mark.parametrize("shared", [False, True], ids=["edges", "pairs"])
def test_sums_of_given_values_are_the_plain_ones(sizes, shared):
    arguments = Case(*sizes).weighted(shared)
    sums = of("weighted", *arguments)
    require_equal(sums, operators._plain_weighted(*arguments))
    pull = torch.randn_like(sums)
    require_equal(of("weighted_pull", pull, *arguments), operators._plain_pull_weighted(pull, *arguments))


def test_each_species_has_its_columns():
    case = Case(3, 32, 3)
    vectors, weights, senders, starts, kinds, rows, species, *_ = case.weighted(shared=False)
    sums = case.density.weighted(vectors, weights, senders, starts, species, kinds, rows)
    assert sums.shape == (16, OUT, 3 * 32)
    by_species = sums.view(16, OUT, 3, 32)
    assert not by_species[:, :, 2].any()  # nobody is of the last
    receiver = 1
    own = slice(int(starts[receiver]), int(starts[receiver + 1]))
    for kind in range(2):
        expected = weights[own][kinds[senders[own]] == kind].sum(0)
        require_equal(by_species[0, receiver, kind], expected)


def test_single_precision_is_as_good_as_its_digits():
    case, results = Case(3, 32, 3), []
    for dtype in (torch.float64, torch.float32):
        arguments = case.tabulated(dtype)
        sums = of("tabulated", *arguments)
        torch.manual_seed(2)
        pull = torch.randn(sums.shape, dtype=torch.float64).to(dtype)
        results.append([sums, of("tabulated_pull", pull, *arguments)])
    require_equal([each.double() for each in results[1]], results[0], SINGLE)


def test_torch_takes_the_operators():
    case = Case(1, 8, 1)
    for name, arguments in (("tabulated", case.tabulated()), ("weighted", case.weighted(shared=True))):
        overload = getattr(torch.ops.halocline, f"density_{name}").default
        differentiable = [arguments[0].clone().requires_grad_(True), *arguments[1:]]
        if name == "weighted":
            differentiable[1] = arguments[1].clone().requires_grad_(True)
        torch.library.opcheck(overload, tuple(differentiable))
        pull = torch.randn_like(overload(*arguments))
        torch.library.opcheck(getattr(torch.ops.halocline, f"density_{name}_pull").default, (pull, *arguments))


@pytest.mark.parametrize("shared", [None, True], ids=["table", "pairs"])
def test_any_number_of_threads_gives_the_same_bits(shared):
    case = Case(3, 32, 3)
    name, arguments = ("tabulated", case.tabulated()) if shared is None else ("weighted", case.weighted(shared))
    pull, results, before = None, [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            sums = of(name, *arguments)
            pull = torch.randn_like(sums) if pull is None else pull
            gradients = of(f"{name}_pull", pull, *arguments)
            results.append([sums, *([gradients] if isinstance(gradients, Tensor) else gradients)])
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(map(torch.equal, results[0], others))


def test_derivatives_are_those_of_differences():
    case = Case(1, 8, 1)
    vectors, *rest = case.tabulated()
    vectors.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda vectors: of("tabulated", vectors, *rest), (vectors,), fast_mode=True)


def test_nothing_is_added_up_of_no_edges():
    case = Case(1, 8, 1)
    vectors, weights, senders, starts, *rest = case.weighted(shared=False)
    none = vectors[:0], weights[:0], senders[:0], torch.zeros_like(starts), *rest
    sums = of("weighted", *none)
    assert sums.shape == (4, OUT, 8)
    assert not sums.any()
    assert [len(each) for each in of("weighted_pull", sums, *none)] == [0, 0]
