"""The packages that this backend stands on, which Halocline does not bring."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from halocline.errors import UsageError

#: What to install, for the messages of every part of the backend.
FIX = "pip install 'halocline[onnx]', or 'halocline[gpu]' for NVIDIA GPUs"


def problem(*names: str) -> str:
    """Say why packages cannot be imported, and what to do; empty if all can."""
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            found = f"cannot be loaded ({error})" if not isinstance(error, ModuleNotFoundError) else "is missing"
            return f"The ONNX backend needs the package {name}, which {found}: {FIX}."
    return ""


def require(*names: str) -> None:
    """Refuse to go on without packages.

    Raises:
        UsageError: one of them cannot be imported.
    """
    if reason := problem(*names):
        raise UsageError(reason)


def runtime() -> Any:
    """Import ONNX Runtime, whose Python interface has no types.

    Raises:
        UsageError: it cannot be imported.
    """
    require("onnxruntime")
    return import_module("onnxruntime")
