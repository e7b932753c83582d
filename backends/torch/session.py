"""Prepared programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from halocline.executor import Session
from halocline.lowering import flatten
from halocline.model import Backbone
from halocline.program import ProgramInputs, ProgramOutputs, energies_and_gradients


@final
class EagerSession(Session):
    """Runs the stages one after another."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """See `Session.__call__`."""
        return energies_and_gradients(self._backbone, inputs)


@final
class GraphSession(Session):
    """Runs a compiled program.

    Args:
        run: takes the inputs of the program's manifest and returns its outputs.
    """

    def __init__(self, run: Callable[..., Sequence[Tensor]]) -> None:
        self._run = run

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """See `Session.__call__`."""
        with torch.no_grad():
            return ProgramOutputs(*self._run(*map(_plain, flatten(inputs))))


def _plain(tensor: Tensor) -> Tensor:
    """Contiguous, as compiled code expects; tensors without elements may come with any strides."""
    return tensor.contiguous() if tensor.numel() else tensor.new_empty(tensor.shape)
