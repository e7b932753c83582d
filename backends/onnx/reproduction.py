"""A compiled program is believed only after it has reproduced the program that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from torch import Tensor

from halocline.backends.onnx.target import Target
from halocline.errors import LoweringError
from halocline.lowering import Program
from halocline.program import Precision

#: Allowed difference, relative to the largest value and in eV or eV/Å: far above rounding, well below what TF32 or
#: a dropped addition would do.
_TOLERANCE: Final = {Precision.FLOAT32: 1e-4, Precision.FLOAT64: 1e-10}
_FLOOR: Final = {Precision.FLOAT32: 1e-6, Precision.FLOAT64: 1e-12}


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
        error, scale = float((result.cpu() - expected).abs().max()), float(expected.abs().max())
        if not error <= _TOLERANCE[precision] * scale + _FLOOR[precision]:
            raise LoweringError(
                f"{target.provider_name} computes {value.name} of {program.manifest.backbone!r} wrongly, off by "
                f"{error:.1e}{value.unit and ' ' + value.unit}; use another provider or backend."
            )
