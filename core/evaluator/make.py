"""The runner for a model, an executor and a way to treat halos."""

from __future__ import annotations

from halocline.evaluator.exchange import ExchangeRunner
from halocline.evaluator.recompute import RecomputeRunner
from halocline.evaluator.runner import Runner
from halocline.executor import Executor
from halocline.model.backbone import Backbone
from halocline.program import FrozenModel, Precision
from halocline.program.policy import PrecisionPolicy


def make_runner(
    backbone: Backbone,
    executor: Executor,
    precision: Precision,
    *,
    exchange: bool,
    compress: bool = False,
    policy: PrecisionPolicy | None = None,
) -> Runner:
    """Prepare a model to be evaluated part by part.

    Args:
        backbone: copied and cast, not shared.
        executor: where to run it.
        precision: of the program.
        exchange: send the state of halo atoms between stages, instead of computing it wherever it is needed.
        compress: let tables take the place of radial functions; see `FrozenModel.freeze`.
        policy: regions of the backbone that compute in other dtypes, likewise.

    Raises:
        UsageError: the executor cannot exchange, or the policy does not suit it or the backbone.
        KernelError: the model cannot be compressed.
    """
    frozen = FrozenModel.freeze(
        backbone, precision, executor.capabilities, executor.device, compress=compress, policy=policy
    )
    return ExchangeRunner(frozen, executor) if exchange else RecomputeRunner(frozen, executor)
