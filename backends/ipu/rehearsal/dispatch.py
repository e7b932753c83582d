"""What torch really dispatches while a program runs, held against the same rules as the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from halocline.backends.ipu.check.call import Call, TensorType, Violation
from halocline.backends.ipu.check.conformance import check_call
from halocline.backends.ipu.check.operations import LATEST, supported
from halocline.backends.ipu.check.read import bind
from halocline.backends.ipu.check.values import DTYPES
from halocline.backends.ipu.rehearsal.subject import RehearsedProgram


def rehearse_dispatch(subject: RehearsedProgram, sdk: str = LATEST) -> Iterator[Violation]:
    """Composite operations fall apart on the way to a device; PopTorch sees the parts."""
    yield from check_dispatched(subject.replay, subject.tensors(subject.lay_out(subject.graph)), sdk)


def check_dispatched(
    function: Callable[..., object], tensors: Sequence[Tensor], sdk: str = LATEST
) -> Iterator[Violation]:
    """Run anything on the CPU and judge each operation that arrives there, once.

    Args:
        function: of the tensors.
        tensors: its arguments.
        sdk: version of the SDK.
    """
    with torch.no_grad(), _Recorder() as recorder:
        function(*tensors)
    seen: set[tuple[str, str]] = set()
    for call in recorder.calls:
        for violation in (*check_call(call, supported(sdk)), *_check_results(call)):
            if (violation.rule, violation.where) not in seen:
                seen.add((violation.rule, violation.where))
                yield violation


def _check_results(call: Call) -> Iterator[Violation]:
    for result in call.results:
        if result.dtype not in DTYPES:
            yield Violation("dtype", call.where, f"its result is {result.dtype}, which the device does not have.")


@final
class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the calls."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        arguments = tree_map_only(Tensor, _type, bind(func, args, kwargs or {}))
        tensors = [_type(each) for each in tree_leaves(results) if isinstance(each, Tensor)]
        self.calls.append(Call(f"dispatched {func}", func, arguments, tuple(tensors)))
        return results


def _type(tensor: Tensor) -> TensorType:
    return TensorType("a tensor", tensor.dtype, tuple(tensor.shape))
