"""Steps of Halocline. Options: backend, dtype, compress."""

from __future__ import annotations

import logging
from typing import Any

import torch
from serve import Made, serve

import halocline
from halocline.graph.neighbours import DEFAULT_SKIN
from halocline.potential.calculator import HaloclineCalculator

#: In the warnings of `halocline.program.replacement`.
_REFUSED = " cannot run "


def make(asked: dict[str, Any]) -> Made:
    """Load a checkpoint."""
    torch.set_num_threads(asked["threads"])
    warned = _Warnings()
    logging.getLogger("halocline").addHandler(warned)
    potential = halocline.load(asked["model"])
    calculator = potential.calculator(device=asked["device"], **asked["options"])
    return calculator, lambda: facts(calculator, warned.said)


def facts(calculator: HaloclineCalculator, warnings: list[str]) -> dict[str, Any]:
    """Which stages kernels run, and how many are not run by the kernel that is for them.

    These are stages that pass messages and that no kernel runs, tables left aside, and those that a kernel was for
    and refused.
    """
    backbone = calculator.potential.backbone
    replaced: dict[str, list[str]] = {}
    for each in calculator.replaced:
        replaced.setdefault(each.stage, []).append(f"{each.kernel} {each.version}")
    run = {each.stage for each in calculator.replaced if each.exact}
    passing = [name for name, stage in backbone.stages() if stage.spec.hops]
    return {
        "cutoff": calculator.potential.cutoff,
        "skin": DEFAULT_SKIN,
        "replaced": replaced,
        "fallbacks": sum(name not in run for name in passing) + sum(_REFUSED in each for each in warnings),
        "warnings": warnings,
    }


class _Warnings(logging.Handler):
    """What was said at the level of warnings or above, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if (message := record.getMessage()) not in self.said:
            self.said.append(message)


if __name__ == "__main__":
    serve(make, ["halocline", "torch", "numpy", "scipy", "ase"])
