"""The runner for a model, an executor and a way to treat halos."""

from __future__ import annotations

from halocline.evaluator.exchange import ExchangeRunner
from halocline.evaluator.recompute import RecomputeRunner
from halocline.evaluator.runner import Runner
from halocline.executor import Executor
from halocline.model.backbone import Backbone
from halocline.program import Precision


def make_runner(backbone: Backbone, executor: Executor, precision: Precision, *, exchange: bool) -> Runner:
    """Prepare a model to be evaluated part by part.

    Args:
        backbone: copied and cast, not shared.
        executor: where to run it.
        precision: of the program.
        exchange: send the state of halo atoms between stages, instead of computing it wherever it is needed.

    Raises:
        UsageError: the executor cannot exchange.
    """
    kind = ExchangeRunner if exchange else RecomputeRunner
    return kind(backbone, executor, precision)
