"""M3GNet's kernels compile for a GPU that need not be there."""

from __future__ import annotations

import pytest
import test_fused_gates
import test_fused_three_body
import torch
from test_triton_mace import require_code
from test_triton_operators import needs_triton

in_precisions = pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)], ids=str
)


@needs_triton
@in_precisions
@pytest.mark.parametrize("dialect", ["matgl", "mattersim"])
def test_edge_halves_compile(dialect, dtype):
    case = test_fused_gates.Case(test_fused_gates.SIZES[dialect], edges=11)
    given = [each.detach() for each in case.floats]
    arguments = *given, *case.ends, case.weights, case.centres, case.sizes
    require_code("edge_half", (*arguments, True), dtype)
    updated, totals, kept = torch.ops.halocline.edge_half(*arguments, True)
    require_code("edge_half_backward", (updated, totals, kept, *arguments), dtype)


@needs_triton
@in_precisions
def test_three_body_sums_compile(dtype):
    case = test_fused_three_body.Case(4, 2)
    given = [each.detach() for each in case.floats]
    arguments = *given, *case.ends, test_fused_three_body.CENTRES, case.degrees, True
    require_code("three_body_sums", arguments, dtype)
    require_code("three_body_sums_backward", (torch.ones_like(given[1]), *arguments), dtype)
