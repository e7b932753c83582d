"""The figures of an epoch by which a fit may be steered, under the names of their columns in ``metrics.csv``."""

from __future__ import annotations

from typing import Literal, get_args

Metric = Literal[
    "validation_loss",
    "energy_mae",
    "energy_rmse",
    "forces_mae",
    "forces_rmse",
    "stress_mae",
    "stress_rmse",
    "loss",
]

METRICS: tuple[Metric, ...] = get_args(Metric)


def label_of(metric: Metric) -> str | None:
    """The label that validation frames need for it; None for losses."""
    return None if metric.endswith("loss") else metric.partition("_")[0]
