"""Evaluators turn a structure into a result."""

from halocline.evaluator.evaluator import Evaluator
from halocline.evaluator.local import LocalEvaluator

__all__ = ["Evaluator", "LocalEvaluator"]
