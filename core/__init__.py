"""Halocline: run, prune and partition machine-learned interatomic potentials on any backend."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from halocline.errors import HaloclineError
    from halocline.evaluator.result import Result
    from halocline.potential.load import load
    from halocline.potential.potential import Potential

__version__ = "0.1.0"
__all__ = ["HaloclineError", "Potential", "Result", "load"]

# Resolved on first use, so that importing halocline stays light.
_HOME = {
    "HaloclineError": "halocline.errors",
    "Potential": "halocline.potential.potential",
    "Result": "halocline.evaluator.result",
    "load": "halocline.potential.load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
