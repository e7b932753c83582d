"""Evaluators turn a structure into a result."""

from halocline.evaluator.domain_graph import domain_graph
from halocline.evaluator.evaluator import Evaluator
from halocline.evaluator.following import FollowingEvaluator
from halocline.evaluator.links import Links, NoLinks
from halocline.evaluator.local import LocalEvaluator
from halocline.evaluator.make import make_runner
from halocline.evaluator.runner import Contribution, Runner

__all__ = [
    "Contribution",
    "Evaluator",
    "FollowingEvaluator",
    "Links",
    "LocalEvaluator",
    "NoLinks",
    "Runner",
    "domain_graph",
    "make_runner",
]
