"""The outcome of a search as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from halocline.training.pruning.search import Outcome


def as_values(outcome: Outcome) -> dict[str, Any]:
    """All that a search has found, as plain JSON values; errors as `Errors` has them, times as `Costs`."""
    return {
        "budgets": [str(budget) for budget in outcome.budgets],
        "chosen": None if outcome.chosen is None else outcome.chosen.name,
        "model": None if outcome.chosen is None else str(outcome.chosen.model),
        "candidates": [
            {
                "name": each.name,
                "prune": each.prune,
                "model": str(each.model),
                "within_budget": outcome.within(each),
                **asdict(cost),
                "validation": each.validation.as_table(),
                "test": None if each.test is None else each.test.as_table(),
            }
            for each, cost in zip(outcome.candidates, outcome.costs, strict=True)
        ],
    }
