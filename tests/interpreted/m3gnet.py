"""Triton's edge half and three-body sums of M3GNet are their definitions."""

from __future__ import annotations

import pytest
import test_fused_gates
import test_fused_three_body
import torch
from interpreted.on_cpu import CALLS, as_on_gpu
from test_fused_gates import require_close

from halocline.plugins.fused.gates import EDGE_HALF, edge_half
from halocline.plugins.fused.three_body import THREE_BODY

as_on_gpu(*EDGE_HALF, *THREE_BODY)

#: Relative to the largest value, of sums in another order.
EXACT, SINGLE = 1e-12, 1e-5

SIZES = test_fused_gates.SIZES | {"two hidden layers": (20, 16, 5, 3, 2, 1, 1)}


def gates(sizes, *, edges=70, dtype=torch.float64):
    """Of receivers one of which has no edge."""
    return test_fused_gates.Case(sizes, edges=edges, written=9, dtype=dtype)


def derived(case, *, last=False):
    """Values and derivatives, found and expected; of the last block nobody asks for edges."""
    CALLS.clear()
    results = []
    for values in (edge_half(*case.floats, *case.rest), case.plain()):
        torch.manual_seed(1)
        pulls = [torch.randn(each.shape, dtype=torch.float64).to(each) for each in values]
        chosen = slice(1, None) if last else slice(None)
        results.append([*values, *torch.autograd.grad(values[chosen], case.floats, pulls[chosen])])
    assert CALLS == {"edge_half": 1, "edge_half_backward": 1}
    return results


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_edge_halves_are_their_definitions(sizes):
    require_close(*derived(gates(sizes)), EXACT)


def test_the_last_block_asks_for_no_edges():
    require_close(*derived(gates(SIZES["mattersim"]), last=True), EXACT)


def test_edge_halves_in_single_precision_are_as_good_as_its_digits():
    require_close(*derived(gates(SIZES["mattersim"], dtype=torch.float32)), SINGLE)


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_computed_does_not_depend_on_what_is_kept(keep):
    case = gates(SIZES["mattersim"])
    kept, expected = edge_half(*case.floats, *case.rest), case.plain()
    with torch.set_grad_enabled(keep):
        again = edge_half(*case.floats, *case.rest)
    require_close(kept, expected, EXACT)
    assert all(map(torch.equal, kept, again))


def test_of_no_edges_there_are_no_messages():
    case = gates(SIZES["mattersim"], edges=0)
    found, expected = derived(case)
    require_close(found, expected, EXACT)
    assert not any(each.any() for each in found)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["edges", "sums", "basis"])
def test_nan_reaches_its_edge_and_atom_and_nothing_else(which):
    case, edge = gates(SIZES["two hidden layers"]), 30
    with torch.no_grad():
        case.floats[which][edge, 0] = torch.nan
    updated, totals = edge_half(*case.floats, *case.rest)
    assert torch.equal(updated.isnan().any(1), torch.arange(len(updated)) == edge)
    assert torch.equal(totals.isnan().any(1), torch.arange(len(totals)) == case.ends[0][edge])


@pytest.mark.parametrize("from_end", [True, False], ids=["gates of ends", "gates of centres"])
@pytest.mark.parametrize("sizes", test_fused_three_body.SIZES, ids=str)
def test_three_body_sums_are_their_definitions(sizes, from_end):
    for dtype, bound in ((torch.float64, EXACT), (torch.float32, SINGLE)):
        case = test_fused_three_body.Case(*sizes, from_end=from_end, dtype=dtype)
        CALLS.clear()
        test_fused_three_body.require_plain(case, bound)
        assert CALLS == {"three_body_sums": 1, "three_body_sums_backward": 1}


def test_edges_without_direction_take_no_part():
    """And NaN reaches the edges of its centre that do, and no others."""
    test_fused_three_body.test_nan_reaches_the_edges_of_its_centre_and_no_others()
    case = test_fused_three_body.Case(4, 2)
    idle = case.floats[2][:, 0] == 0
    results = []
    for length in (1.0, 0.0):
        with torch.no_grad():
            case.floats[0][idle] *= length
        sums = case.sums()
        results.append(case.derived(sums, torch.ones_like(sums)))
    assert all(map(torch.equal, *results))


def test_of_no_edges_there_are_no_sums():
    test_fused_three_body.test_of_no_edges_there_are_no_sums()


def test_results_are_the_same_to_the_bit():
    (first, _), (second, _) = (derived(gates(SIZES["mattersim"])) for _ in range(2))
    assert all(map(torch.equal, first, second))
    case = test_fused_three_body.Case(3, 3)
    pull = torch.randn(case.floats[1].shape, dtype=torch.float64)
    assert all(map(torch.equal, *(case.derived(case.sums(), pull) for _ in range(2))))
