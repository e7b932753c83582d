"""Single stages, as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import final

import torch
from torch import Tensor

from halocline.aggregation import Block
from halocline.context import usable
from halocline.executor import StageSession
from halocline.model import Stage, State
from halocline.program import ProgramInputs
from halocline.program.analytic import linearized, pulled_back
from halocline.program.evaluate import stage_may_be_constant, vector_jacobian_product


@final
class EagerStage(StageSession):
    """Runs one stage, and differentiates it by running it again; without autograd where it knows its derivative.

    Args:
        stage: on the executor's device.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def value(self, state: Mapping[str, Tensor], inputs: ProgramInputs | None) -> dict[str, Tensor]:
        """See `StageSession.value`."""
        known = linearized(self._stage, State.of(state), inputs)
        if known is not None:
            return known[0].named()
        with torch.no_grad():
            return self._run(state, inputs, None if inputs is None else inputs.vectors)

    def product(
        self, state: Mapping[str, Tensor], inputs: ProgramInputs | None, cotangents: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `StageSession.product`."""
        known = linearized(self._stage, State.of(state), inputs)
        if known is not None:
            floats = {name: values for name, values in state.items() if values.is_floating_point()}
            return pulled_back(known[1], floats, None if inputs is None else inputs.vectors, cotangents)
        state, inputs = _usable(state), None if inputs is None else inputs.usable()
        leaves = {name: _leaf(values) for name, values in state.items() if values.is_floating_point()}
        vectors = None if inputs is None else _leaf(inputs.vectors)
        read = leaves if vectors is None else leaves | {"vectors": vectors}
        written = self._run({**state, **leaves}, inputs, vectors)
        return vector_jacobian_product(
            written,
            _usable(cotangents),
            read,
            f"Outputs of the stage {type(self._stage).__name__}",
            constant=partial(stage_may_be_constant, state, vectors),
        )

    def _run(
        self, state: Mapping[str, Tensor], inputs: ProgramInputs | None, vectors: Tensor | None
    ) -> dict[str, Tensor]:
        blocks: list[Block] = []
        if inputs is not None and vectors is not None:
            levels = range(len(inputs.levels) - 2, -1, -1)
            blocks = inputs.blocks(self._stage.spec.neighbours, levels, vectors)
        return self._stage(State.of(state), *blocks).named()


def _usable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: usable(values) for name, values in tensors.items()}


def _leaf(values: Tensor) -> Tensor:
    return values.detach().requires_grad_(True)
