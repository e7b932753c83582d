"""The executors that come in the box."""

from __future__ import annotations

from halocline.plugin import Component, hookimpl

halocline_api = 1


@hookimpl
def halocline_executors() -> list[Component]:
    """Describe the executors."""
    return [Component("torch", "halocline.backends.torch.executor:TorchExecutor", "PyTorch on a CPU or a GPU")]
