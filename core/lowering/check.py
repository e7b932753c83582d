"""Hold a program against what it was made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, fx

from halocline.errors import LoweringError
from halocline.program import FrozenModel

#: Allowed difference in units of ε times the largest value. The graph runs the same operations in the same order;
#: only decomposed derivatives differ from torch's own, by a few roundings each.
ROUNDINGS: Final = 1000.0


def require_equal(
    graph: fx.GraphModule, inputs: Sequence[Tensor], expected: Sequence[Tensor], frozen: FrozenModel, case: str
) -> None:
    """Run the graph and compare.

    Args:
        graph: as traced on other inputs.
        inputs: in order.
        expected: what the backbone gives.
        frozen: whose precision decides what rounding is, even where sums are float64.
        case: what is special about these inputs.

    Raises:
        LoweringError: a result differs by more than rounding, or the graph does not run on these sizes.
    """
    backbone = frozen.backbone.name
    try:
        results = graph(*inputs)
    except (RuntimeError, IndexError, AssertionError) as error:
        raise LoweringError(
            f"The program of {backbone!r} does not run on {case}: {error}. A stage depends on the sizes that "
            "it was traced with."
        ) from error
    for number, (result, reference) in enumerate(zip(results, expected, strict=True)):
        if result.shape != reference.shape or result.dtype != reference.dtype:
            raise LoweringError(
                f"Output {number} of the program of {backbone!r} on {case} is {tuple(result.shape)} "
                f"{result.dtype}; the backbone gives {tuple(reference.shape)} {reference.dtype}."
            )
        off = deviation(result, reference)
        if not off <= ROUNDINGS * torch.finfo(frozen.precision.torch).eps:
            raise LoweringError(
                f"Output {number} of the program of {backbone!r} on {case} differs from the backbone's by "
                f"{off:.1e} of the largest value. A stage must depend on its arguments alone: no Python branches "
                "on values or sizes, no state, no random numbers."
            )


def deviation(result: Tensor, expected: Tensor, floor: float = 1.0) -> float:
    """The largest difference between two tensors, by the largest value; NaN where a result is no number.

    Args:
        result: on any device; infinitely far off if its shape is another one.
        expected: on the CPU.
        floor: takes the place of the largest value where that is smaller, in the unit of the tensors.
    """
    if result.shape != expected.shape:
        return math.inf
    if not expected.numel():
        return 0.0
    return float((result.cpu() - expected).abs().max()) / max(floor, float(expected.abs().max()))
