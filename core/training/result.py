"""The end of a run: a potential with the averaged weights, measured on the frames nobody has looked at."""

from __future__ import annotations

import dataclasses
from typing import Any

from halocline.model.build import build_backbone
from halocline.model.potential import Potential
from halocline.training.errors import Errors, measure
from halocline.training.problem import Problem
from halocline.training.run import Run


def finish(run: Run, device: str) -> tuple[Potential, Errors | None]:
    """Make the potential and measure it as its users will call it.

    Args:
        run: after its last epoch.
        device: where to evaluate the test frames.

    Returns:
        The potential with its card, and its errors on the test frames, None if there are none.
    """
    problem = run.problem
    # Built anew: in the trained copy, what follows from the config was rounded to the training precision.
    backbone = build_backbone(problem.backbone.name, problem.backbone.config)
    backbone.load_state_dict(run.trainer.average.state_dict())
    potential = Potential(backbone.eval(), problem.reference_energies, {})
    errors = test_errors(potential, problem, device) if problem.split.test else None
    return dataclasses.replace(potential, card=make_card(problem, errors)), errors


def test_errors(potential: Potential, problem: Problem, device: str) -> Errors:
    """Errors on the test frames, in the precision of the training."""
    frames = problem.split.test
    precision = problem.recipe.training.precision
    evaluator = potential.evaluator("torch", precision, device, "none", "auto")
    results = [potential.evaluate_with(evaluator, problem.frames[i].atoms) for i in frames]
    return measure(
        [problem.labels[i] for i in frames],
        [problem.reference(i) for i in frames],
        [len(problem.frames[i].atoms) for i in frames],
        [result.energy for result in results],
        [result.forces for result in results],
    )


def make_card(problem: Problem, errors: Errors | None) -> dict[str, Any]:
    """The recipe's card, completed by what the run knows."""
    return problem.recipe.card
