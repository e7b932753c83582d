"""Evaluators turn a structure into a result."""

from halocline.evaluator.evaluator import Evaluator
from halocline.evaluator.following import FollowingEvaluator
from halocline.evaluator.local import LocalEvaluator
from halocline.evaluator.make import make_runner
from halocline.evaluator.runner import Contribution, Links, NoLinks, Runner

__all__ = [
    "Contribution",
    "Evaluator",
    "FollowingEvaluator",
    "Links",
    "LocalEvaluator",
    "NoLinks",
    "Runner",
    "make_runner",
]
