"""Compiled three-body sums against plain operations: values, derivatives, threads, NaN."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from halocline.plugins.fused import three_body
from halocline.plugins.fused.three_body import three_body_sums

#: Relative to the largest value; the own term that moments take off again is as large as the sums themselves.
EXACT, SINGLE = 1e-13, 5e-6

#: Degrees, and radial functions of each.
SIZES = [(1, 1), (2, 3), (3, 3), (4, 4)]
CENTRES, ATOMS = 17, 25


class Case:
    """Random arguments, with centres that have no edge or one, and edges without three-body terms."""

    def __init__(self, degrees: int, count: int, *, from_end: bool = True, dtype=torch.float64) -> None:
        torch.manual_seed(10 * degrees + count)
        counts = torch.randint(0, 40, (CENTRES,))
        counts[[0, 3, CENTRES - 1]], counts[5] = 0, 1
        receivers = torch.repeat_interleave(torch.arange(CENTRES), counts)
        edges, sums = len(receivers), degrees * count
        envelope = torch.rand(edges, 1, dtype=torch.float64) * (torch.arange(edges) % 3 > 0)[:, None]
        floats = (
            torch.randn(edges, 3, dtype=torch.float64),
            torch.randn(edges, sums, dtype=torch.float64) * envelope,
            envelope,
            torch.rand(ATOMS, sums, dtype=torch.float64),
        )
        self.floats = [each.to(dtype).requires_grad_(True) for each in floats]
        self.ends = torch.randint(0, ATOMS, (edges,)), receivers
        self.degrees, self.from_end = degrees, from_end

    def sums(self) -> Tensor:
        return three_body_sums(*self.floats, self.ends, CENTRES, self.degrees, from_end=self.from_end)

    def plain(self) -> Tensor:
        floats = [each.double() for each in self.floats]
        return three_body._plain(*floats, *self.ends, CENTRES, self.degrees, self.from_end)

    def derived(self, sums: Tensor, pull: Tensor) -> list[Tensor]:
        return [sums.detach(), *torch.autograd.grad(sums, self.floats, pull, materialize_grads=True)]


def require_plain(case: Case, bound: float) -> None:
    """Of values and derivatives, once each; nothing of edges that take no part."""
    pull = torch.randn(case.floats[1].shape, dtype=torch.float64)
    acting = case.floats[2][:, 0] > 0
    found, expected = case.derived(case.sums(), pull.to(case.floats[1])), case.derived(case.plain(), pull)
    for number, (ours, plain) in enumerate(zip(found, expected, strict=True)):
        assert ours.dtype == case.floats[1].dtype
        rows = acting if number < len(found) - 1 else slice(None)
        assert rows is not acting or not ours[~acting].any()
        assert float((ours[rows] - plain[rows]).abs().max()) <= bound * max(1.0, float(plain[rows].abs().max()))


@pytest.mark.parametrize("from_end", [True, False])
@pytest.mark.parametrize("sizes", SIZES)
def test_values_and_derivatives_are_the_plain_ones(sizes, from_end):
    for dtype, bound in ((torch.float64, EXACT), (torch.float32, SINGLE)):
        require_plain(Case(*sizes, from_end=from_end, dtype=dtype), bound)


def test_torch_takes_the_operators():
    case = Case(2, 3)
    rest = *case.ends, CENTRES, case.degrees, True
    torch.library.opcheck(torch.ops.halocline.three_body_sums.default, (*case.floats, *rest))
    plain = [each.detach() for each in case.floats]
    torch.library.opcheck(
        torch.ops.halocline.three_body_sums_backward.default, (torch.ones_like(plain[1]), *plain, *rest)
    )


def test_derivatives_are_those_of_differences():
    case = Case(4, 1)
    vectors, *others = case.floats

    def sums(vectors: Tensor) -> Tensor:
        given = [each.detach() for each in others]
        return three_body_sums(vectors, *given, case.ends, CENTRES, case.degrees, from_end=True)

    assert torch.autograd.gradcheck(sums, (vectors,), fast_mode=True)


def test_any_number_of_threads_gives_the_same_bits():
    case = Case(3, 3, dtype=torch.float32)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(case.derived(case.sums(), torch.ones_like(case.floats[1])))
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(map(torch.equal, results[0], others))


def test_nan_reaches_the_edges_of_its_centre_and_no_others():
    case = Case(3, 3)
    edge = int((case.floats[2][:, 0] > 0).nonzero()[40])
    with torch.no_grad():
        case.floats[0][edge, 1] = torch.nan
    sums = case.sums()
    its = case.ends[1] == case.ends[1][edge]
    assert torch.equal(sums.isnan().any(1), its & (case.floats[2][:, 0] > 0))


def test_of_no_edges_there_are_no_sums():
    none = torch.zeros(0, dtype=torch.int64)
    floats = [torch.zeros(shape, dtype=torch.float64) for shape in ((0, 3), (0, 6), (0, 1), (4, 6))]
    sums = three_body_sums(*(each.requires_grad_(True) for each in floats), (none, none), 4, 2, from_end=True)
    assert sums.shape == (0, 6)
    assert not torch.autograd.grad(sums.sum(), floats[3])[0].any()
