"""One stage at a time: its value, and its vector-Jacobian product.

Halo exchange runs stages one after another and sends state between them, forward, and cotangents, backward. The
product computes the value again instead of keeping what autograd would keep, so that it too is a plain graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from halocline.context import in_evaluation_context
from halocline.lowering.check import require_equal
from halocline.lowering.manifest import Manifest
from halocline.lowering.program import Program
from halocline.lowering.rules import custom_operators
from halocline.lowering.stage_function import COTANGENT, StageFunction
from halocline.lowering.trace import trace
from halocline.program import FrozenModel
from halocline.program.stage_example import stage_inputs


@final
@dataclass(frozen=True, slots=True)
class StagePrograms:
    """A stage as two graphs.

    Attributes:
        value: state and edges in, state out.
        vjp: state, edges and a cotangent of each float of the state out (``d_NAME``) in; cotangents of each float
            of the state in and of the edge vectors out.
    """

    value: Program
    vjp: Program


@in_evaluation_context
def lower_stage(frozen: FrozenModel, name: str) -> StagePrograms:
    """Lower one stage of a frozen model.

    Args:
        frozen: in either form.
        name: as in `Backbone.stages`: ``embed``, ``layers.0``, ``readouts.3``.

    Raises:
        KeyError: there is no such stage.
        LoweringError: the stage cannot be lowered, or its graphs do not reproduce it.
    """
    examples = stage_inputs(frozen, name)
    stage = StageFunction(frozen, name, *examples[0])
    cases = [stage.arguments(*example) for example in examples]
    primal = [{key: x for key, x in case.items() if not key.startswith(COTANGENT)} for case in cases]
    return StagePrograms(
        _lower(stage, name, "value", stage.value, primal), _lower(stage, name, "vjp", stage.product, cases)
    )


def _lower(
    stage: StageFunction,
    name: str,
    kind: Literal["value", "vjp"],
    function: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
    cases: Sequence[dict[str, Tensor]],
) -> Program:
    """Trace a function of named tensors on the first case, and check it on the others."""
    frozen, (example, *others) = stage.frozen, cases
    names = tuple(example)

    def positional(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(dict(zip(names, tensors, strict=True))).values())

    graph = trace(frozen, positional, names, tuple(example.values()), free=True)
    for case in others:
        arguments = tuple(case.values())
        atoms = len(case[stage.reads[0]])
        require_equal(graph, arguments, positional(*arguments), frozen, f"{atoms} atoms in its stage {name}")
    inputs = tuple(stage.describe_input(key, tensor) for key, tensor in example.items())
    outputs = tuple(stage.describe_output(key, tensor) for key, tensor in function(example).items())
    return Program(
        graph, Manifest.of(frozen, kind, inputs, outputs, stage=name, operators=custom_operators(graph))
    )
