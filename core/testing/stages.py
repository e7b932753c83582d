"""Hold the stages that an executor prepares against their definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from torch import Tensor

from halocline.errors import UsageError
from halocline.executor import Executor
from halocline.lowering.stage_function import COTANGENT, StageFunction
from halocline.program import FrozenModel, Precision, ProgramInputs
from halocline.program.stage_example import nothing_owned, stage_inputs
from halocline.testing import tolerances
from halocline.testing.comparison import require_close
from halocline.testing.report import Failure, NotApplicable

Tensors = Mapping[str, Tensor]

_TOLERANCES: Final = {Precision.FLOAT64: tolerances.STAGE, Precision.FLOAT32: tolerances.FLOAT32_STAGE}


@final
@dataclass(frozen=True, slots=True)
class _Case:
    """What one stage is given, and what it must give.

    Attributes:
        stage: its name.
        atoms: that it writes.
        state: that it reads.
        inputs: its edges; None without hops.
        cotangents: of the floats that it writes.
        value: expected.
        product: expected.
    """

    stage: str
    atoms: int
    state: Tensors
    inputs: ProgramInputs | None
    cotangents: Tensors
    value: Tensors
    product: Tensors


def require_stages(executor: Executor, frozen: FrozenModel) -> None:
    """Values and vector-Jacobian products of every stage, on parts of several sizes, one after another.

    Args:
        executor: any.
        frozen: in a form and precision of the executor; not to be used any more.

    Raises:
        NotApplicable: the executor runs whole programs only.
        Failure: a stage gives something else than its definition does.
    """
    if frozen.backbone.exchange_refusal:
        raise NotApplicable(frozen.backbone.exchange_refusal)
    cases = [case for name, _ in frozen.backbone.stages() for case in _cases(frozen, name)]
    try:
        sessions = executor.prepare_stages(frozen)
    except UsageError as error:
        raise NotApplicable(str(error)) from error
    for case in cases:
        session, where = sessions[case.stage], f"stage {case.stage} of {case.atoms} atoms"
        state, cotangents = _on(executor.device, case.state), _on(executor.device, case.cotangents)
        inputs = None if case.inputs is None else case.inputs.mapped(lambda tensor: tensor.to(executor.device))
        value, product = session.value(state, inputs), session.product(state, inputs, cotangents)
        _require_tensors(f"that {where} writes", value, case.value, frozen.precision)
        _require_tensors(f"by what {where} reads", product, case.product, frozen.precision)
        nothing = {name: values.new_zeros(values.shape) for name, values in case.product.items()}
        product = session.product(state, inputs, {})
        _require_tensors(f"by what {where} reads, without cotangents,", product, nothing, frozen.precision)


def _cases(frozen: FrozenModel, name: str) -> Iterator[_Case]:
    """Parts whose stages write fewer atoms than they read, a whole structure, and nothing at all."""
    examples = stage_inputs(frozen, name)
    function = StageFunction(frozen, name, *examples[0])
    for state, inputs in (*examples, nothing_owned(frozen, examples[0][0], function.hops)):
        tensors = function.arguments(state, inputs)
        product = function.product(tensors)
        yield _Case(
            stage=name,
            atoms=inputs.levels[0],
            state=state.named(),
            inputs=inputs if function.hops else None,
            cotangents={written: tensors[COTANGENT + written] for written in function.writes},
            value={key: values.detach() for key, values in function.value(tensors).items()},
            product={key.removeprefix(COTANGENT): values for key, values in product.items()},
        )


def _on(device: str, tensors: Tensors) -> dict[str, Tensor]:
    return {name: values.to(device) for name, values in tensors.items()}


def _require_tensors(what: str, found: Tensors, expected: Tensors, precision: Precision) -> None:
    """Fail unless the same tensors are there, equal to rounding."""
    if set(found) != set(expected):
        raise Failure(f"Of what {what} there are {sorted(found)} instead of {sorted(expected)}.")
    for name, reference in expected.items():
        values = found[name].cpu()
        if values.dtype != reference.dtype:
            raise Failure(f"The values {name!r} {what} are {values.dtype} instead of {reference.dtype}.")
        expected_values, relative = reference.double().numpy(), _TOLERANCES[precision]
        scale = max(tolerances.STAGE_FLOOR, float(np.abs(expected_values).max(initial=0.0)))
        require_close(f"Values {name!r} {what}", values.double().numpy(), expected_values, relative * scale)
