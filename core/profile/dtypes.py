"""The precision that was really computed in, as operators show it, whatever a configuration says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from halocline.context import evaluation_context
from halocline.profile.operators import computed_in
from halocline.profile.origin import Origins


def observed_dtypes(function: Callable[[], object]) -> dict[str, Counter[torch.dtype]]:
    """Call a function twice, and see in which floating dtypes the operators of each stage compute.

    The first call is not looked at: it may prepare programs and check them in another precision. Derivatives count
    where what they are of does. Conversions do not count, nor do views, fills and numbers without axes: what
    computes with their results does. Nothing is seen of programs that run outside of torch's dispatcher, compiled
    ones among them, nor of other processes.

    Args:
        function: evaluates a model, most often in one call of an evaluator.

    Returns:
        Stage, as `Origin.stage` names it (empty outside of stages, such as in float64 sums of forces) → dtype →
        elements computed in it.

    Example:
        >>> observed_dtypes(lambda: potential(atoms))["layers.0"].keys()
        dict_keys([torch.float32])
    """
    mode = _Dtypes()
    function()
    # Modes of the host are left on the way into the context; this one is entered within it.
    with evaluation_context(), mode:
        function()
    return mode.found


@final
class _Dtypes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, Counter[torch.dtype]] = {}
        self._origins = Origins()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and note the dtype of its result."""
        origin = self._origins.here()
        result = func(*args, **(kwargs or {}))
        tensor = computed_in(func, result)
        if tensor is not None:
            self.found.setdefault(origin.stage, Counter())[tensor.dtype] += tensor.numel()
        return result
