"""From programs and stages to sessions: lowered, translated, compiled, and seen to compute the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from torch import Tensor

from halocline.backends.onnx.convert import to_onnx
from halocline.backends.onnx.engine import Engines
from halocline.backends.onnx.session import OnnxSession, OnnxStage
from halocline.backends.onnx.target import Target
from halocline.durations import announced
from halocline.errors import LoweringError
from halocline.lowering import Program, flatten, lower, lower_stage
from halocline.lowering.check import deviation
from halocline.lowering.example import example_inputs
from halocline.lowering.stage_function import StageFunction
from halocline.program import FrozenModel, Precision
from halocline.program.stage_example import stage_inputs

#: Before the names of a stage's outputs: a stage may write what it reads, and names in a model are unique.
_WRITTEN: Final = "out."

#: Allowed difference by the largest value: far above rounding, well below what TF32 or a dropped addition
#: would do.
_TOLERANCE: Final = {Precision.FLOAT32: 1e-4, Precision.FLOAT64: 1e-10}

#: eV or eV/Å: smaller values round as this one does.
_FLOOR: Final = 0.01


def prepare_program(frozen: FrozenModel, target: Target, threads: int) -> OnnxSession:
    """Prepare a whole program; raises as `OnnxExecutor.prepare` does."""
    example = example_inputs(frozen.backbone, frozen.form, frozen.precision)
    with announced(f"Compiling {frozen.backbone.name!r} for ONNX Runtime ({frozen.precision})"):
        engines = _compile(lower(frozen), flatten(example), target, threads)
        return OnnxSession(engines, list(frozen.backbone.shapes.values())[1:])


def prepare_stage(frozen: FrozenModel, name: str, target: Target, threads: int) -> OnnxStage:
    """Prepare one stage of a program; raises as `OnnxExecutor.prepare_stages` does."""
    programs = lower_stage(frozen, name)
    state, inputs = stage_inputs(frozen, name)[0]
    example = StageFunction(frozen, name, state, inputs).arguments(state, inputs)
    value = _compile_stage(programs.value, example, target, threads)
    reads_floats = bool(programs.vjp.manifest.outputs)
    return OnnxStage(
        programs, value, _compile_stage(programs.vjp, example, target, threads) if reads_floats else None
    )


def _compile_stage(program: Program, example: Mapping[str, Tensor], target: Target, threads: int) -> Engines:
    manifest = program.manifest
    outputs = tuple(dataclasses.replace(value, name=_WRITTEN + value.name) for value in manifest.outputs)
    renamed = dataclasses.replace(program, manifest=dataclasses.replace(manifest, outputs=outputs))
    return _compile(renamed, [example[value.name] for value in manifest.inputs], target, threads)


def _compile(program: Program, example: Sequence[Tensor], target: Target, threads: int) -> Engines:
    """Raises LoweringError where the result differs from the lowered program's on the example."""
    engines = Engines(to_onnx(program).SerializeToString(), program.manifest, target, threads)
    require_reproduction(engines, program, example, target)
    return engines


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
