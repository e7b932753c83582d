"""The recipes among the examples are understood."""

from pathlib import Path

import pytest

from halocline.active.recipe import read_active_recipe
from halocline.training.recipe import read_recipe

EXAMPLES = Path(__file__).parents[1] / "examples"
RECIPES = sorted(EXAMPLES.rglob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_recipes_are_understood(path):
    read = read_active_recipe if path.stem.startswith("active") else read_recipe
    assert read(path)
