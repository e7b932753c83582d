"""A program in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
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
        others: shapes of what the backbone says of an atom beside its energy.
    """

    def __init__(self, engines: Engines, others: Sequence[tuple[int, ...]] = ()) -> None:
        self._engines, self._others = engines, others

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """See `Session`."""
        assert isinstance(inputs, TableInputs)
        if not inputs.levels[0]:  # nothing is owned, and ONNX Runtime takes no empty tensors
            others = (inputs.seeds.new_zeros((0, *shape)) for shape in self._others)
            return ProgramOutputs(inputs.seeds.clone(), inputs.vectors.new_zeros(inputs.vectors.shape), *others)
        capacity = Capacity.bucket(inputs)
        return crop(ProgramOutputs(*self._engines(flatten(pad(inputs, capacity)))), inputs, capacity)
