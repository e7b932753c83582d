"""The compiled edge half of M3GNet against plain operations: values, derivatives, threads, NaN, memory."""

from __future__ import annotations

import gc
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from halocline.native import library
from halocline.plugins.fused import operators
from halocline.plugins.fused.gates import edge_half
from halocline.plugins.fused.packing import EdgeWeights, Gated, packed, shares_of_atoms
from halocline.plugins.fused.plain_gates import plain_edge_half
from halocline.plugins.fused.reused import SMALLEST, Reused
from halocline.program.operators import composites

#: Of sums of some hundreds of products behind each other, relative to the largest value.
EXACT, SINGLE = 1e-13, 3e-6

#: Bytes of some large pages.
SIZE = 16 * 1024**2

#: Channels, units, three-body sums, functions of distance, hidden layers, sums at the end, swish: MatGL's sizes,
#: MatterSim's dialect with channels that fill no panel, and more sums and functions than a panel has columns.
SIZES = {
    "matgl": (64, 128, 9, 3, 1, 1, 0),
    "mattersim": (24, 40, 12, 4, 0, 0, 1),
    "many functions": (8, 8, 20, 150, 1, 0, 0),
}


class Case:
    """Random weights and arguments: ``edges`` edges between ``written`` of some atoms and all of them."""

    def __init__(self, sizes: tuple[int, ...], edges: int = 205, written: int = 17, dtype=torch.float64) -> None:
        torch.manual_seed(len(sizes) + edges)
        channels, units, sums, basis, hidden, *flags = sizes
        networks = range(2)
        weights = EdgeWeights(
            _gated(channels, sums, offsets=False),
            _gated(channels, basis, offsets=False),
            tuple(_gated(units, channels, offsets=False) for _ in networks),
            tuple([_gated(units, units) for _ in range(hidden)] for _ in networks),
            tuple(_gated(channels, units) for _ in networks),
        )
        self.weights = packed(weights).to(dtype)
        of_centres = [_gated(units, channels) for _ in networks]
        of_ends = [_gated(units, channels, offsets=False) for _ in networks]
        matrix, offsets = shares_of_atoms(of_centres, of_ends)
        atoms = written + 13
        shares = torch.nn.functional.linear(_normal(atoms, channels), matrix, offsets)
        floats = _normal(edges, channels), _normal(edges, sums), _normal(edges, basis), shares
        self.floats = [each.to(dtype).requires_grad_(True) for each in floats]
        self.ends = torch.randint(0, atoms, (edges,)), torch.randint(0, written, (edges,)).sort()[0]
        self.centres, self.sizes = written, [units, hidden, *flags]

    @property
    def rest(self) -> tuple:
        return self.ends, self.weights, self.centres, self.sizes

    def plain(self) -> tuple[Tensor, Tensor]:
        """In plain operations and float64."""
        floats = [each.double() for each in self.floats]
        rest = *self.ends, self.weights.double(), self.centres, self.sizes, False
        return plain_edge_half(*floats, *rest)[:2]

    def derived(self, results, pulls) -> list[Tensor]:
        return [each.detach() for each in (*results, *torch.autograd.grad(results, self.floats, pulls))]


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _gated(out: int, inner: int, *, offsets: bool = True) -> Gated:
    values, gate = (_normal(out, inner) / inner**0.5 for _ in range(2))
    return Gated(values, gate, _normal(2, out) if offsets else None)


def require_close(found, expected, bound: float) -> None:
    for ours, plain in zip(found, expected, strict=True):
        ours, plain = ours.detach(), plain.detach()
        assert ours.shape == plain.shape
        if plain.numel():
            assert float((ours - plain).abs().max()) <= bound * float(plain.abs().max())


@pytest.mark.parametrize("edges", [0, 1, 205])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_values_and_derivatives_are_the_plain_ones(sizes, edges):
    for dtype, bound in ((torch.float64, EXACT), (torch.float32, SINGLE)):
        case = Case(sizes, edges, dtype=dtype)
        pulls = [_normal(*each.shape) for each in case.plain()]
        found = case.derived(edge_half(*case.floats, *case.rest), [pull.to(dtype) for pull in pulls])
        assert {each.dtype for each in found} == {dtype}
        require_close(found, case.derived(case.plain(), pulls), bound)


@pytest.fixture(params=["-mno-avx512f", "-mno-avx2"], ids=["256 bits", "128 bits"])
def _narrower(request, monkeypatch):
    """The operator compiled for vectors of this width."""
    monkeypatch.setattr(operators, "library", partial(library, flags=(request.param,)))
    for cached in (operators.compiled, operators.c_function):
        cached.cache_clear()
    yield
    for cached in (operators.compiled, operators.c_function):
        cached.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("_narrower")
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_narrower_vectors_give_the_same(sizes):
    for dtype, bound in ((torch.float64, EXACT), (torch.float32, SINGLE)):
        case = Case(sizes, dtype=dtype)
        pulls = [_normal(*each.shape) for each in case.plain()]
        found = case.derived(edge_half(*case.floats, *case.rest), [pull.to(dtype) for pull in pulls])
        require_close(found, case.derived(case.plain(), pulls), bound)


def test_the_last_block_asks_for_no_edges():
    case = Case(SIZES["matgl"])
    found, expected = (
        torch.autograd.grad(totals.sum(), case.floats)
        for _, totals in (edge_half(*case.floats, *case.rest), case.plain())
    )
    require_close(found, expected, EXACT)


def test_activations_are_right_far_from_zero():
    case = Case(SIZES["mattersim"])
    with torch.no_grad():
        case.floats[0].mul_(torch.logspace(-3, 3, len(case.floats[0]), dtype=torch.float64)[:, None])
        require_close(edge_half(*case.floats, *case.rest), case.plain(), EXACT)


def test_torch_takes_the_operators():
    case = Case(SIZES["mattersim"], edges=11)
    arguments = *case.floats, *case.ends, case.weights, case.centres, case.sizes
    for keep in (True, False):
        given = arguments if keep else [each.detach() if isinstance(each, Tensor) else each for each in arguments]
        torch.library.opcheck(torch.ops.halocline.edge_half.default, (*given, keep))
    plain = [each.detach() if isinstance(each, Tensor) else each for each in arguments]
    updated, totals, kept = torch.ops.halocline.edge_half(*plain, True)
    for pull in (updated, None):
        torch.library.opcheck(torch.ops.halocline.edge_half_backward.default, (pull, totals, kept, *plain))


def test_derivatives_are_those_of_differences():
    case = Case(SIZES["mattersim"], edges=7, written=3)
    assert torch.autograd.gradcheck(lambda *floats: edge_half(*floats, *case.rest), case.floats, fast_mode=True)


def test_programs_of_others_have_plain_operations():
    case = Case(SIZES["mattersim"], edges=9)

    def derived(*floats: Tensor) -> list[Tensor]:
        updated, totals = edge_half(*floats, *case.rest)
        return list(torch.autograd.grad(updated.sum() + totals.sum(), floats))

    graph = make_fx(derived, decomposition_table=composites())(*case.floats)
    assert not any(str(node.target).startswith("halocline") for node in graph.graph.nodes)
    require_close(graph(*case.floats), derived(*case.floats), EXACT)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_any_number_of_threads_gives_the_same_bits(sizes):
    case = Case(sizes, edges=3500, dtype=torch.float32)  # more than two threads take in one round
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            values = edge_half(*case.floats, *case.rest)
            results.append(case.derived(values, [torch.ones_like(each) for each in values]))
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(map(torch.equal, results[0], others))


@pytest.mark.parametrize("which", ["edges", "sums", "basis"])
def test_nan_reaches_its_edge_and_atom_and_nothing_else(which):
    case = Case(SIZES["matgl"])
    edge = 100
    with torch.no_grad():
        case.floats[("edges", "sums", "basis").index(which)][edge, 0] = torch.nan
    updated, totals = edge_half(*case.floats, *case.rest)
    assert torch.equal(updated.isnan().any(1), torch.arange(len(updated)) == edge)
    assert torch.equal(totals.isnan().any(1), torch.arange(len(totals)) == case.ends[0][edge])


def test_small_tensors_are_left_to_the_system():
    reused = Reused(3 * SIZE)
    kept = reused.empty((SMALLEST // 4 - 1,), torch.float32)
    assert not reused.held
    large = reused.empty((SMALLEST // 4,), torch.float32)
    assert reused.held >= large.nbytes > kept.nbytes


def test_memory_is_used_again_when_nobody_has_it():
    reused = Reused(3 * SIZE)
    first = reused.empty((SIZE // 4,), torch.float32)
    address = first.data_ptr()
    second = reused.empty((SIZE // 8,), torch.float64)
    assert second.data_ptr() != address
    view = first[10:]
    del first
    assert reused.empty((SIZE // 4,), torch.float32).data_ptr() not in (address, second.data_ptr())
    del view
    gc.collect()
    again = reused.empty((SIZE // 16, 4), torch.float32)
    assert again.data_ptr() == address
    assert again.shape == (SIZE // 16, 4)


def test_no_more_memory_is_held_than_was_said():
    reused = Reused(3 * SIZE)
    tensors = [reused.empty((SIZE,), torch.uint8) for _ in range(5)]
    assert reused.held == 3 * SIZE
    del tensors
    largest = reused.empty((3 * SIZE,), torch.uint8)  # twice what is free would be too large a block for it
    assert reused.held == 3 * SIZE == largest.numel()
    assert reused.empty((10,), torch.uint8).numel() == 10
