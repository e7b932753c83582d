"""Operators seen as torch dispatches them: once with all that is known of them, then only by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from halocline.profile.operators import Kind, bytes_of, computed_in, flops_of, kind_of
from halocline.profile.origin import Origin, Origins
from halocline.shares import Shares

#: The section of an evaluation in which the operators of a model run; see `halocline.shares`.
NETWORK = "network"


class Operator(NamedTuple):
    """One call of an operator within a model.

    Attributes:
        name: such as ``aten.mm.default``.
        origin: which stage ran it, and what for.
        kind: of operator.
        shape: of its largest result.
        dtype: that it computed in; None where it computed nothing, see `computed_in`.
        elements: that it computed.
        flops: None where no convention is known for it.
        bytes: that had to be moved.
    """

    name: str
    origin: Origin
    kind: Kind
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    elements: int
    flops: float | None
    bytes: float


@final
class Inventory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists the operators of a model in the order in which they run.

    Args:
        shares: counted meanwhile, which tell the model from what surrounds it.

    Attributes:
        operators: so far.
        device: that they run on.
    """

    def __init__(self, shares: Shares) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Operator] = []
        self.device = "cpu"
        self._shares, self._origins = shares, Origins()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and list it."""
        given = kwargs or {}
        origin = self._origins.here()
        result = func(*args, **given)
        if self._shares.innermost == NETWORK:
            computed = computed_in(func, result)
            results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            largest = max(results, key=Tensor.numel, default=None)
            self.device = self.device if largest is None else str(largest.device)
            self.operators.append(
                Operator(
                    str(func),
                    origin,
                    kind_of(func),
                    () if largest is None else tuple(largest.shape),
                    None if computed is None else computed.dtype,
                    0 if computed is None else computed.numel(),
                    flops_of(func, args, given, result),
                    bytes_of(func, args, given, result),
                )
            )
        return result


@final
class Clock(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes the time of each operator of a model, in the same order.

    Args:
        shares: as for `Inventory`.
        synchronize: waits for the device, so that its work counts where it was handed over.
    """

    def __init__(self, shares: Shares, synchronize: Callable[[], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[Any] = []
        self.seconds: list[float] = []
        self._shares, self._synchronize = shares, synchronize

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator by the clock."""
        if self._shares.innermost != NETWORK:
            return func(*args, **(kwargs or {}))
        self._synchronize()
        began = time.perf_counter()
        result = func(*args, **kwargs) if kwargs else func(*args)
        self._synchronize()
        self.seconds.append(time.perf_counter() - began)
        self.names.append(func)
        return result
