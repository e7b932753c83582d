"""PopTorch silently makes int32 of int64 and float32 of float64: done on purpose here, it must change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from halocline.backends.ipu.check.call import Violation
from halocline.backends.ipu.rehearsal.subject import RehearsedProgram, load_replay

#: What becomes of dtypes on the way to the device.
NARROWED: Final = {torch.int64: torch.int32, torch.float64: torch.float32}

#: Operation → the argument that must be int64 in torch. PopTorch turns it back for the kernels that infer shapes.
_WIDE_INDEX: Final = {"gather": 2, "scatter": 2, "scatter_add": 2, "scatter_reduce": 2, "take_along_dim": 1}


def rehearse_coercion(subject: RehearsedProgram) -> Iterator[Violation]:
    """Run once as written and once with narrow dtypes."""
    tensors = subject.tensors(subject.lay_out(subject.graph))
    yield from check_coercion(subject, tensors)


def check_coercion(subject: RehearsedProgram, tensors: Sequence[Tensor]) -> Iterator[Violation]:
    """Compare to the bit.

    Args:
        subject: whose program runs.
        tensors: its inputs.
    """
    narrow = load_replay(subject.program)
    for buffer in narrow.buffers():
        buffer.data = _narrow(buffer.data)
    with torch.no_grad():
        with _Range() as range_:
            expected = subject.replay(*tensors)
        with _Coercion():  # type: ignore[no-untyped-call]
            results = narrow(*map(_narrow, tensors))
    for operation in range_.left:
        yield Violation("coercion", operation, "it gives integers beyond the 32 bits that the device has.")
    for name, found, wide in zip(subject.program.outputs, results, expected, strict=True):
        if not torch.equal(found, _narrow(wide)):
            yield Violation("coercion", name, "it changes when int64 becomes int32 and float64 float32.")


@final
class _Range(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches integers.

    Attributes:
        left: operations whose results do not fit into 32 bits.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        if (
            isinstance(results, Tensor)
            and results.dtype is torch.int64
            and not torch.equal(results.int().long(), results)
        ):
            self.left.append(str(func))
        return results


@final
class _Coercion(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Narrows every result."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        place = _WIDE_INDEX.get(func._schema.name.removeprefix("aten::"))
        given = [each.long() if number == place else each for number, each in enumerate(args)]
        return tree_map_only(Tensor, _narrow, func(*given, **(kwargs or {})))


def _narrow(tensor: Tensor) -> Tensor:
    return tensor.to(NARROWED.get(tensor.dtype, tensor.dtype))
