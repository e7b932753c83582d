"""A program in ONNX Runtime."""

from __future__ import annotations

from typing import final

from halocline.backends.onnx.engines import Engines
from halocline.executor import Session
from halocline.lowering import flatten
from halocline.program import ProgramInputs, ProgramOutputs, TableInputs
from halocline.program.capacity import Capacity, crop, pad


@final
class OnnxSession(Session):
    """Pads inputs to the next bucket of sizes, runs, and takes the padding off again.

    Args:
        engines: of a program in table form.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """See `Session`."""
        assert isinstance(inputs, TableInputs)
        if not inputs.levels[0]:  # nothing is owned, and ONNX Runtime takes no empty tensors
            return ProgramOutputs(inputs.seeds.clone(), inputs.vectors.new_zeros(inputs.vectors.shape))
        capacity = Capacity.bucket(inputs)
        energies, gradients = self._engines(flatten(pad(inputs, capacity)))
        return crop(ProgramOutputs(energies, gradients), inputs, capacity)
