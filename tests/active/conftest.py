"""Folders in which a loop can run."""

from functools import partial

import ase.io
import pytest
import torch
from rattled_argon import RECIPE, frames, label

from halocline.active.fit import complete
from halocline.active.recipe import read_active_recipe
from halocline.active.run import Hooks, learn


@pytest.fixture(autouse=True)
def one_thread():
    """Problems this small only lose time to threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def labelled():
    return [label(atoms) for atoms in frames(26)]


@pytest.fixture
def folder(tmp_path, labelled):
    """A folder with data and recipe."""
    ase.io.write(tmp_path / "argon.extxyz", labelled)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def edit(folder):
    """Replace a piece of the recipe that occurs once."""

    def edit(old, new):
        path = folder / "recipe.toml"
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    return edit


@pytest.fixture
def run(folder):
    """Run the loop, or go on with it."""

    def run(output="loop", *, resume=False, epoch=None):
        recipe = read_active_recipe(folder / "recipe.toml")
        hooks = Hooks(completed=partial(complete, report=epoch)) if epoch else Hooks()
        return learn(recipe, folder, folder / output, device="cpu", resume=resume, hooks=hooks)

    return run
