"""A compiled program is believed only after it has reproduced the program that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from torch import Tensor

from halocline.backends.onnx.target import Target
from halocline.errors import LoweringError
from halocline.lowering import Program
from halocline.lowering.check import deviation
from halocline.program import Precision

#: Allowed difference by the largest value: far above rounding, well below what TF32 or a dropped addition
#: would do.
_TOLERANCE: Final = {Precision.FLOAT32: 1e-4, Precision.FLOAT64: 1e-10}

#: eV or eV/Å: smaller values round as this one does.
_FLOOR: Final = 0.01


def require_reproduction(
    compute: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    program: Program,
    inputs: Sequence[Tensor],
    target: Target,
) -> None:
    """Compare one run with the lowered program, which torch runs on the CPU.

    Args:
        compute: the compiled program.
        program: what it was made from.
        inputs: an example, on the CPU.
        target: where ``compute`` wants its inputs.

    Raises:
        LoweringError: the results differ by more than rounding.
    """
    precision = program.manifest.precision
    results = compute([tensor.to(target.device) for tensor in inputs])
    for value, result, expected in zip(program.manifest.outputs, results, program(*inputs), strict=True):
        off = deviation(result, expected, _FLOOR)
        if not off <= _TOLERANCE[precision]:
            raise LoweringError(
                f"{target.provider_name} computes {value.name} of {program.manifest.backbone!r} wrongly, off by "
                f"{off:.1e} of the largest value; use another provider or backend."
            )
