"""Single stages, as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from halocline.executor import StageSession
from halocline.model import Stage, State
from halocline.program import ProgramInputs


@final
class EagerStage(StageSession):
    """Runs one stage, and differentiates it by running it again.

    Args:
        stage: on the executor's device.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def value(self, state: Mapping[str, Tensor], inputs: ProgramInputs | None) -> dict[str, Tensor]:
        """See `StageSession.value`."""
        with torch.no_grad():
            return self._run(state, inputs, None if inputs is None else inputs.vectors)

    def product(
        self, state: Mapping[str, Tensor], inputs: ProgramInputs | None, cotangents: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `StageSession.product`."""
        leaves = {name: _leaf(values) for name, values in state.items() if values.is_floating_point()}
        vectors = None if inputs is None else _leaf(inputs.vectors)
        read = leaves if vectors is None else leaves | {"vectors": vectors}
        with torch.enable_grad():
            written = self._run({**state, **leaves}, inputs, vectors)
            reached = [name for name in cotangents if written[name].requires_grad]
            if not reached:  # nothing that is read has been used
                return {name: torch.zeros_like(leaf) for name, leaf in read.items()}
            products = torch.autograd.grad(
                [written[name] for name in reached],
                list(read.values()),
                [cotangents[name] for name in reached],
                materialize_grads=True,
            )
        return dict(zip(read, products, strict=True))

    def _run(
        self, state: Mapping[str, Tensor], inputs: ProgramInputs | None, vectors: Tensor | None
    ) -> dict[str, Tensor]:
        blocks = []
        if inputs is not None and vectors is not None:
            blocks = [inputs.block(level, vectors) for level in range(len(inputs.levels) - 2, -1, -1)]
        return self._stage(State.of(state), *blocks).named()


def _leaf(values: Tensor) -> Tensor:
    return values.detach().requires_grad_(True)
