"""Which line of a model made an operation of its graph, those of derivatives included."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.utils._python_dispatch import TorchDispatchMode

#: Where nodes of a graph carry it.
ORIGIN: Final = "origin"

#: Packages that run models and are none.
_RUNNING: Final = (
    "torch",
    "halocline.lowering",
    "halocline.program",
    "halocline.aggregation",
    "halocline.context",
)


@final
class RecordOrigins(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While a graph is recorded, mark its nodes with the lines that made them, as ``model.py, line 12``.

    Autograd numbers what it records, so that a derivative leads back to the operation that it is of.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._lines: dict[int, str] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and mark what that adds to the graph."""
        recording = get_proxy_mode()
        if recording is None:
            return func(*args, **(kwargs or {}))
        line = self._line()
        graph = recording.tracer.graph
        before = next(iter(reversed(graph.nodes)), None)
        result = func(*args, **(kwargs or {}))
        for node in reversed(graph.nodes):
            if node is before:
                break
            node.meta[ORIGIN] = line
        return result

    def _line(self) -> str:
        derivative = torch._C._current_autograd_node()
        if derivative is not None:
            return self._lines.get(derivative._sequence_nr(), "")
        line = _line_of_model()
        # An operation that autograd does not record finds the number of the last one that it did.
        self._lines.setdefault(torch.autograd._get_sequence_nr() - 1, line)
        return line


def _line_of_model() -> str:
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        module = str(frame.f_globals.get("__name__", ""))
        if not any(module == name or module.startswith(f"{name}.") for name in _RUNNING):
            return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
    return ""


def origin(node: fx.Node) -> str:
    """An operation with the line that made it, for messages."""
    line = node.meta.get(ORIGIN, "")
    return f"{node.target} ({line})" if line else str(node.target)
