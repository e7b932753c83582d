"""The recipes among the examples are understood, and the one for another backend than torch's runs there."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from halocline.active.recipe import read_active_recipe
from halocline.backends.ipu.training.limits import refuse_unheeded
from halocline.training.device import make_fabric
from halocline.training.fit.fitter import find_fitter
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.run import TrainingRun

EXAMPLES = Path(__file__).parents[1] / "examples"
RECIPES = sorted(EXAMPLES.rglob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_recipes_are_understood(path):
    read = read_active_recipe if path.stem.startswith("active") else read_recipe
    assert read(path)


def test_packed_pretraining_is_what_an_ipu_can_do():
    refuse_unheeded(read_recipe(EXAMPLES / "pretrain_packed.toml"), "ipu")


@pytest.mark.slow
def test_packed_pretraining_learns(tmp_path, caplog):
    """In fewer epochs than the recipe has; of clusters of several sizes packs fill most of their places."""
    caplog.set_level(logging.INFO, "halocline")  # commands in this process have set it to warnings
    recipe = read_recipe(EXAMPLES / "pretrain_packed.toml")
    recipe = replace(recipe, training=replace(recipe.training, epochs=6))
    problem = prepare(recipe, EXAMPLES)
    sizes = [len(problem.frames[i].atoms) for i in problem.split.train]
    assert len(set(sizes)) > 3
    fabric = make_fabric("cpu", recipe.training.precision)
    run = TrainingRun(problem, tmp_path, fabric, resume=False, make_fitter=find_fitter("ipu:target=cpu"))
    run.train(lambda record: None)
    packs, atoms = map(int, re.search(r"Each step has (\d+) packs of (\d+) atoms", caplog.text).groups())
    steps = len(sizes) / recipe.training.batch_size
    assert sum(sizes) <= packs * atoms * steps < 2 * sum(sizes)
    first, last = run.history[0], run.history[-1]
    assert last.energy_mae < 0.5 * first.energy_mae
