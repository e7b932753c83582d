"""Halocline: run, prune and partition machine-learned interatomic potentials on any backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halocline.lazy import lazily

if TYPE_CHECKING:
    from halocline.errors import HaloclineError
    from halocline.evaluator.result import Result
    from halocline.potential.combined import committee_of, sum_of
    from halocline.potential.load import load
    from halocline.potential.potential import Potential

__version__ = "0.1.0"
__all__ = ["HaloclineError", "Potential", "Result", "committee_of", "load", "sum_of"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "HaloclineError": "halocline.errors",
        "Potential": "halocline.potential.potential",
        "Result": "halocline.evaluator.result",
        "committee_of": "halocline.potential.combined",
        "load": "halocline.potential.load",
        "sum_of": "halocline.potential.combined",
    },
)
