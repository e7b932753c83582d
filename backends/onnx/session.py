"""A program in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, final

from torch import Tensor

from halocline.backends.onnx.engine import Engine, sizes_of
from halocline.backends.onnx.target import Target
from halocline.executor import Session
from halocline.lowering import Manifest, flatten
from halocline.program import ProgramInputs, ProgramOutputs, TableInputs
from halocline.program.capacity import Capacity, crop, pad

#: Engines of fixed sizes that are kept; a simulation needs one, or two while it moves from one bucket to the next.
KEPT_ENGINES: Final = 8


@final
class OnnxSession(Session):
    """Pads inputs to the next bucket of sizes, runs, and takes the padding off again.

    On the CPU one engine runs all sizes. It plans its memory anew for each size that it meets and remembers the
    plan: with buckets, plans are few. Other providers get an engine for each bucket, with all sizes fixed.
    TensorRT compiles for fixed sizes anyway; and where sizes are constants there is no arithmetic with shapes,
    which ONNX Runtime would do on the CPU and which would hide what falls back to it by accident.

    Args:
        model: serialised ONNX model of a program in table form.
        manifest: of the model.
        target: where to run.
        threads: of one operation, or 0.
    """

    def __init__(self, model: bytes, manifest: Manifest, target: Target, threads: int) -> None:
        self._manifest = manifest
        self._fixed = target.kind != "cpu"
        self._engine = lru_cache(KEPT_ENGINES)(lambda sizes: Engine(model, manifest, target, threads, dict(sizes)))

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """See `Session`."""
        assert isinstance(inputs, TableInputs)
        if not inputs.levels[0]:  # nothing is owned, and ONNX Runtime takes no empty tensors
            return ProgramOutputs(inputs.seeds.clone(), inputs.vectors.new_zeros(inputs.vectors.shape))
        capacity = Capacity.bucket(inputs)
        energies, gradients = self.compute(flatten(pad(inputs, capacity)))
        return crop(ProgramOutputs(energies, gradients), inputs, capacity)

    def compute(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run on inputs as they are, in the order of the manifest."""
        sizes = tuple(sizes_of(self._manifest, tensors).items()) if self._fixed else ()
        return self._engine(sizes)(tensors)
