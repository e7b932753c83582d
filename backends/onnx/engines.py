"""A model in ONNX Runtime, ready for inputs of any sizes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, final

from torch import Tensor

from halocline.backends.onnx.engine import Engine, sizes_of
from halocline.backends.onnx.target import Target
from halocline.lowering import Manifest

#: Engines of fixed sizes that are kept; a simulation needs one, or two while it moves from one bucket to the next.
KEPT_ENGINES: Final = 8


@final
class Engines:
    """Compiles a model when it is first run, and again where that cannot be helped.

    On the CPU one engine runs all sizes. It plans its memory anew for each size that it meets and remembers the
    plan: with inputs padded to buckets, plans are few. Other providers get an engine for each bucket, with all
    sizes fixed. TensorRT compiles for fixed sizes anyway; and where sizes are constants there is no arithmetic
    with shapes, which ONNX Runtime would do on the CPU and which would hide what falls back to it by accident.

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

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run on inputs as they are, in the order of the manifest; errors as of `Engine`."""
        sizes = tuple(sizes_of(self._manifest, inputs).items()) if self._fixed else ()
        return self._engine(sizes)(inputs)
