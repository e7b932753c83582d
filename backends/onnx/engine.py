"""One session of ONNX Runtime, fed with torch tensors where they lie."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from halocline.backends.onnx.packages import runtime
from halocline.backends.onnx.target import Target
from halocline.errors import LoweringError, UsageError
from halocline.lowering import Manifest

_TORCH_TYPES: Final = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64}

#: Engines of fixed sizes that are kept; a simulation needs one, or two while it moves from one bucket to the next.
KEPT_ENGINES: Final = 8

#: Session option that makes ONNX Runtime remember its decisions.
RECORD: Final = "session.record_ep_graph_assignment_info"

#: The first version that can tell.
_TELLING_VERSION: Final = "1.24"

_log = logging.getLogger(__name__)


@final
class Engine:
    """A model, compiled.

    Args:
        model: serialised ONNX model.
        manifest: of the model.
        target: where to run.
        threads: of one operation; 0 leaves it to ONNX Runtime, which takes all cores.
        sizes: the values of those free sizes that are to be fixed, by name.

    Raises:
        LoweringError: the provider has no kernel for an operation.
        UsageError: the provider cannot be started.
    """

    def __init__(
        self, model: bytes, manifest: Manifest, target: Target, threads: int, sizes: Mapping[str, int]
    ) -> None:
        self._manifest, self._target = manifest, target
        self._session = _session(model, target, threads, sizes)
        if target.kind != "cpu":
            report_placement(self._session, target)

    def __call__(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run.

        Args:
            inputs: in the order of the manifest, on the target's device.

        Returns:
            New tensors in the order of the manifest, on the same device.
        """
        sizes = sizes_of(self._manifest, inputs)
        inputs = [tensor.contiguous() for tensor in inputs]  # kept here until the run is over
        outputs = tuple(
            torch.empty(
                [sizes[size] if isinstance(size, str) else size for size in value.shape],
                dtype=_TORCH_TYPES[value.dtype],
                device=self._target.device,
            )
            for value in self._manifest.outputs
        )
        binding = self._session.io_binding()
        for value, tensor in zip(self._manifest.inputs, inputs, strict=True):
            binding.bind_input(value.name, *self._place(value.dtype, tensor))
        for value, tensor in zip(self._manifest.outputs, outputs, strict=True):
            binding.bind_output(value.name, *self._place(value.dtype, tensor))
        if self._target.kind == "cuda":  # torch and ONNX Runtime work on streams of their own
            torch.cuda.current_stream(self._target.index).synchronize()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return outputs

    def _place(self, dtype: str, tensor: Tensor) -> tuple[Any, ...]:
        """A tensor as a binding describes it."""
        return self._target.kind, self._target.index, np.dtype(dtype), tuple(tensor.shape), tensor.data_ptr()


def sizes_of(manifest: Manifest, inputs: Sequence[Tensor]) -> dict[str, int]:
    """The value of each free size."""
    return {
        name: size
        for value, tensor in zip(manifest.inputs, inputs, strict=True)
        for name, size in zip(value.shape, tensor.shape, strict=True)
        if isinstance(name, str)
    }


def _session(model: bytes, target: Target, threads: int, sizes: Mapping[str, int]) -> Any:
    """Make the session; ONNX Runtime's own way of falling back to the CPU is switched off."""
    ort = runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.use_deterministic_compute = True
    options.add_session_config_entry(RECORD, "1")
    for name, size in sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    try:
        return ort.InferenceSession(model, options, providers=target.providers, enable_fallback=0)
    except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise LoweringError(f"ONNX Runtime cannot run this model on {target.provider_name}: {error}.") from error


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


def report_placement(session: Any, target: Target) -> None:
    """Log a warning that names the operations which do not run on the provider that was asked for.

    Args:
        session: an ``onnxruntime.InferenceSession`` made with the option `RECORD`.
        target: what was asked for.

    Raises:
        UsageError: the provider could not be started, or it cannot be known what runs where.
    """
    if target.provider_name not in session.get_providers():
        raise UsageError(
            f"ONNX Runtime could not start {target.provider_name}; its log says which library of CUDA, cuDNN or "
            "TensorRT is missing or of another version."
        )
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise UsageError(
            f"This onnxruntime-gpu cannot tell which operations fall back to the CPU; install {_TELLING_VERSION} "
            "or later."
        )
    for provider, operations in misplaced(session, target).items():
        listed = ", ".join(f"{count} × {name}" for name, count in operations.most_common())
        _log.warning("Not on %s but on %s: %s.", target.provider_name, provider, listed)


def misplaced(session: Any, target: Target) -> dict[str, Counter[str]]:
    """Operations on other providers than the target's: provider → operator → number of nodes."""
    elsewhere: dict[str, Counter[str]] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        if subgraph.ep_name != target.provider_name:
            operations = elsewhere.setdefault(subgraph.ep_name, Counter())
            operations.update(node.op_type for node in subgraph.get_nodes())
    return elsewhere
