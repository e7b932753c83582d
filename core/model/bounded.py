"""Build a model from the config of a file under the bound of what the file holds.

A config is a few numbers, and what they ask for can be any number of layers of any size. The weights are there to
be compared with: whatever a model is built from has its place in the file.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from halocline.errors import BackboneError, CheckpointError, HaloclineError

#: What is built may be this many times what the file holds, as weights can be tied and initial values thrown away.
SLACK = 4

#: Elements that a model may use beside its weights, for tables that follow from the config: 32 MiB in float64.
FREE_ELEMENTS = 2**22

#: Tensors and modules that a model without weights may have; each costs some kilobytes.
FREE_TENSORS, FREE_MODULES = 1000, 10_000

#: Modules for each tensor: containers and activations have none of their own.
MODULES_PER_TENSOR = 20

#: What a model that is to be trained may have. Potentials have at most some 1e8 weights.
TRAINABLE_ELEMENTS, TRAINABLE_TENSORS, TRAINABLE_MODULES = 2**28, 20_000, 100_000

#: Functions that make tensors of a given size; and those whose arguments say it in another way.
_SIZED = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
_COUNTED: dict[Any, Callable[..., float]] = {
    torch.arange: lambda start, end=None, step=1: abs((start if end is None else end - start) / step),
    torch.linspace: lambda start, end, steps: steps,
    torch.logspace: lambda start, end, steps, base=10.0: steps,
    torch.eye: lambda n, m=None: n * (n if m is None else m),
    torch.randperm: lambda n: n,
}
_NO_SIZES = {"out", "dtype", "layout", "device", "requires_grad", "pin_memory", "generator"}
_REPEATS = {Tensor.repeat, Tensor.tile, torch.tile}


@contextmanager
def bounded_by(tensors: Mapping[str, Tensor], where: str) -> Iterator[None]:
    """Let a model be built in this block that is about as large as its weights, and no larger.

    Sizes are compared before memory is taken, and numbers while modules are made: a config that asks for more ends
    after about as many steps as its file justifies. Other threads are left alone.

    Args:
        tensors: the weights that the model is to have.
        where: they are, for messages.

    Raises:
        CheckpointError: the model would be larger.
    """
    elements = sum(tensor.numel() for tensor in tensors.values())
    bound = _Bound(
        elements=FREE_ELEMENTS + SLACK * elements,
        tensors=FREE_TENSORS + SLACK * len(tensors),
        modules=FREE_MODULES + MODULES_PER_TENSOR * len(tensors),
        refusal=CheckpointError(
            f"The config asks for far more than the weights {where}: {len(tensors)} tensors with {elements} "
            "elements."
        ),
    )
    with _under(bound):
        yield


@contextmanager
def trainable(config: Mapping[str, Any]) -> Iterator[None]:
    """Let a model be built in this block that is no larger than one that could be trained.

    Args:
        config: of the model, for the message.

    Raises:
        BackboneError: the model would be larger.
    """
    bound = _Bound(
        elements=TRAINABLE_ELEMENTS,
        tensors=TRAINABLE_TENSORS,
        modules=TRAINABLE_MODULES,
        refusal=BackboneError(
            f"The config ({_numbers(config)}) asks for a model of more than {TRAINABLE_ELEMENTS} weights or "
            f"{TRAINABLE_TENSORS} tensors; make it smaller."
        ),
    )
    with _under(bound):
        yield


def _numbers(config: Mapping[str, Any]) -> str:
    """The whole numbers of a config: one of them is the size that is wrong."""
    return ", ".join(f"{name} = {value}" for name, value in config.items() if type(value) is int)


@contextmanager
def _under(bound: _Bound) -> Iterator[None]:
    with ExitStack() as stack:
        for register, hook in (
            (register_module_parameter_registration_hook, bound.tensor),
            (register_module_buffer_registration_hook, bound.tensor),
            (register_module_module_registration_hook, bound.module),
        ):
            stack.callback(register(_in_this_thread(hook)).remove)
        stack.enter_context(_Sizes(bound))
        yield


@final
@dataclass(slots=True)
class _Bound:
    """What may still be built."""

    elements: int
    tensors: int
    modules: int
    refusal: HaloclineError

    def tensor(self, tensor: Tensor | None) -> None:
        self.tensors -= 1
        self.elements -= 0 if tensor is None else tensor.numel()
        if self.tensors < 0 or self.elements < 0:
            self.refuse()

    def module(self, module: nn.Module | None) -> None:
        del module
        self.modules -= 1
        if self.modules < 0:
            self.refuse()

    def refuse(self) -> None:
        raise self.refusal


@final
class _Sizes(TorchFunctionMode):
    """Works out how large a result will be before memory is taken for it."""

    def __init__(self, bound: _Bound) -> None:
        super().__init__()
        self.bound, self.most = bound, bound.elements

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Refuse results with more elements than the whole model may have."""
        kwargs = kwargs or {}
        if _size(func, args, kwargs) > self.most:
            self.bound.refuse()
        return func(*args, **kwargs)


def _size(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """Elements of a tensor made from numbers, or of operands that are broadcast or repeated; else zero.

    By hand: the device ``meta`` and torch's own broadcasting know as much, and take seconds to import.
    """
    if func in _SIZED:
        return _product(kwargs.get("size", args))
    if func in _COUNTED:
        return _COUNTED[func](*args, **{name: value for name, value in kwargs.items() if name not in _NO_SIZES})
    operands = [tuple(value.shape) for value in args if isinstance(value, Tensor)]
    try:
        size = math.prod(np.broadcast_shapes(*operands)) if operands else 0
    except ValueError:  # other operations, such as products of matrices
        return 0
    return size * _product(args[1:] or tuple(kwargs.values())) if func in _REPEATS else size


def _product(sizes: Any) -> int:
    """Of lengths, however they are given: ``(2, 3)``, ``((2, 3),)`` or ``((2, 3), value)``."""
    if isinstance(sizes, list | tuple):
        first = sizes[0] if sizes and isinstance(sizes[0], list | tuple) else sizes
        return math.prod(int(length) for length in first)
    return int(sizes)


def _in_this_thread(count: Callable[[Any], None]) -> Callable[[nn.Module, str, Any], None]:
    """A hook that counts what this thread registers."""
    builder = threading.get_ident()

    def hook(module: nn.Module, name: str, what: Any) -> None:
        del module, name
        if threading.get_ident() == builder:
            count(what)

    return hook
