"""What a host program may have done to torch by the time it calls: none of it may change a number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import torch

#: Makes a context in which the host has done something.
Host = Callable[[], AbstractContextManager[Any]]


@contextmanager
def _set(change: Callable[[Any], Any], to: Any, before: Callable[[], Any]) -> Iterator[None]:
    """One of torch's switches of the process, set and put back."""
    back = before()
    change(to)
    try:
        yield
    finally:
        change(back)


def default_dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    """The dtype of floats that nobody gave one."""
    return _set(torch.set_default_dtype, dtype, torch.get_default_dtype)


def default_device(device: str) -> AbstractContextManager[None]:
    """A context in which tensors that nobody gave a device go to this one."""
    return _set(torch.set_default_device, device, lambda: None)


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """A context in which products of float32 matrices are rounded as torch calls it by this name."""
    switches: tuple[Any, Any] = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = torch.get_float32_matmul_precision(), [switch.fp32_precision for switch in switches]
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        for switch, value in zip(switches, before[1], strict=True):
            switch.fp32_precision = value


def half_saved() -> AbstractContextManager[Any]:
    """Whatever autograd keeps for derivatives is kept in float16."""
    return torch.autograd.graph.saved_tensors_hooks(_half, lambda packed: packed[0].to(packed[1]))


def _half(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.dtype]:
    return (tensor.half() if tensor.is_floating_point() else tensor), tensor.dtype


def deterministic_algorithms() -> AbstractContextManager[None]:
    """Operations that have no deterministic form raise errors."""
    return _set(torch.use_deterministic_algorithms, True, torch.are_deterministic_algorithms_enabled)


def threads(number: int) -> AbstractContextManager[None]:
    """So many threads of one operation; as many as before after the block."""
    return _set(torch.set_num_threads, number, torch.get_num_threads)


def anomaly_detection() -> AbstractContextManager[None]:
    """Autograd looks for values that are not finite. Torch's own name for this warns of its costs."""
    return _set(torch.set_anomaly_enabled, True, torch.is_anomaly_enabled)


def _halve(_module: object, _given: object, output: Any) -> Any:
    return output / 2 if isinstance(output, torch.Tensor) else None


@contextmanager
def hooks_on_all_modules() -> Iterator[None]:
    """The output of every module in the process is halved where it is a tensor."""
    handle = torch.nn.modules.module.register_module_forward_hook(_halve)
    try:
        yield
    finally:
        handle.remove()


#: By what the host has done. Dispatch modes are not among them: the suite runs in the evaluation context itself,
#: where such modes are taken for our own.
HOSTS: MappingProxyType[str, Host] = MappingProxyType(
    {
        "inference mode": torch.inference_mode,
        "no_grad": torch.no_grad,
        "autocast to bfloat16": partial(torch.autocast, "cpu", dtype=torch.bfloat16),
        "autocast to float16": partial(torch.autocast, "cpu", dtype=torch.float16),
        "default dtype float16": partial(default_dtype, torch.float16),
        "default dtype float64": partial(default_dtype, torch.float64),
        "default device meta": partial(default_device, "meta"),
        "with torch.device('meta')": partial(torch.device, "meta"),
        "float32 products in bfloat16": partial(matmul_precision, "medium"),
        "saved tensors in float16": half_saved,
        "anomaly detection": anomaly_detection,
        "hooks on all modules": hooks_on_all_modules,
        "deterministic algorithms": deterministic_algorithms,
        "one thread": partial(threads, 1),
        "two threads": partial(threads, 2),
    }
)

#: Every host is in one of these bundles: what takes minutes to compile is run in bundles, not in each host.
BUNDLES = (
    (
        "inference mode",
        "autocast to bfloat16",
        "default dtype float16",
        "default device meta",
        "one thread",
        "saved tensors in float16",
        "hooks on all modules",
    ),
    (
        "no_grad",
        "autocast to float16",
        "default dtype float64",
        "deterministic algorithms",
        "two threads",
        "with torch.device('meta')",
        "float32 products in bfloat16",
        "anomaly detection",
    ),
)


@contextmanager
def together(names: Iterable[str]) -> Iterator[None]:
    """A host that has done several of these things."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(HOSTS[name]())
        yield
