"""A small problem with a known answer: rattled argon, labelled by ASE's Lennard-Jones potential."""

import copy

import ase.io
import pytest
import torch
from ase.build import bulk
from rattled_argon import MODEL, label

RECIPE = f"""
[data]
files = ["argon.extxyz"]
[data.split]
seed = 1
train = 8
validation = 2
test = 4

{MODEL}
[training]
epochs = 4
batch_size = 3
learning_rate = 1e-2
warmup_steps = 3

[card]
name = "argon"
"""


def labelled_argon(count):
    """Frames of four atoms with energy and forces as a calculator's results."""
    frames = []
    for seed in range(count):
        atoms = bulk("Ar", "fcc", 5.3, cubic=True)
        atoms.rattle(0.2, seed=seed)
        frames.append(label(atoms))
    return frames


@pytest.fixture(autouse=True)
def one_thread():
    """Problems this small only lose time to threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def labelled():
    return labelled_argon(14)


@pytest.fixture
def argon(labelled):
    """Fourteen labelled frames, free to be changed."""
    return copy.deepcopy(labelled)


@pytest.fixture
def folder(tmp_path, argon):
    """A folder with data and recipe."""
    ase.io.write(tmp_path / "argon.extxyz", argon)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def edit_recipe(folder):
    """Replace a piece of the recipe that occurs once."""

    def edit(old, new):
        path = folder / "recipe.toml"
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        return path

    return edit
