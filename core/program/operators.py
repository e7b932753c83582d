"""Operators that plugins register with torch, and what Halocline has to know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import torch

from halocline.errors import KernelError

#: Those registered in this process, by what a graph calls.
_REGISTERED: Final[dict[Any, CustomOperator]] = {}


@final
@dataclass(frozen=True, slots=True)
class CustomOperator:
    """An operator of ``torch.library``, with a fake implementation that tells the shapes of its results.

    Its derivative, if it has one, is made of operators that compilers know or that are registered, too.

    Attributes:
        name: ``namespace::operator``.
        version: raised whenever its results change; everything compiled is kept under it.
        composite: what it computes in plain operations, with the same arguments. It takes the operator's place for
            executors that do not run custom operators.
        flops: floating-point operations of its products of matrices, for profiles, from its arguments with shapes
            in the place of tensors. None where it has no such products.
    """

    name: str
    version: int
    composite: Callable[..., Any]
    flops: Callable[..., int] | None = None


def register_operator(operator: CustomOperator) -> CustomOperator:
    """Make an operator known, most often in the module that registers it with torch.

    Raises:
        KernelError: torch has no operator of this name.
    """
    namespace, _, name = operator.name.partition("::")
    try:
        overload = getattr(getattr(torch.ops, namespace), name).default
    except AttributeError as error:
        raise KernelError(f"torch knows no operator {operator.name!r}; register it with torch.library.") from error
    _REGISTERED[overload] = operator
    return operator


def registered(target: object) -> CustomOperator | None:
    """The custom operator that a node of a graph calls, if it is one that was registered."""
    return _REGISTERED.get(target) if isinstance(target, torch._ops.OpOverload) else None


def composites() -> dict[Any, Callable[..., Any]]:
    """Definitions in plain operations that take the place of registered operators, by what a graph calls."""
    return {overload: operator.composite for overload, operator in _REGISTERED.items()}


def version_of(name: str) -> int | None:
    """The version of an operator that is registered here, by its name; None if it is not."""
    return next((each.version for each in _REGISTERED.values() if each.name == name), None)
