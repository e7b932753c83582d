"""A small problem with a known answer: argon, rattled by different lengths, under Lennard-Jones."""

import json

from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

#: Of the smallest SchNet that fits anything, as tests replace it in recipes.
MODEL = """[model]
backbone = "schnet"
[model.config]
features = 8
gaussians = 8
layers = 1
cutoff = 5.0
"""

RECIPE = f"""
[data]
files = ["argon.extxyz"]
[data.split]
seed = 5
train = 4
validation = 4
test = 2

{MODEL}
[training]
epochs = 3
batch_size = 2
learning_rate = 1e-2
warmup_steps = 3

[active]
iterations = 2
examine = 8
energy_weight = 0.2
quantile = 0.9
largest_fraction = 0.5
later_epochs = 2
end_epochs = 2
"""


def label(atoms):
    """A copy with the results of a real potential."""
    labelled = atoms.copy()
    labelled.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=6.0, smooth=True)
    labels = {"energy": labelled.get_potential_energy(), "forces": labelled.get_forces()}
    labelled.calc = SinglePointCalculator(labelled, **labels)
    return labelled


def frames(count):
    made = []
    for seed in range(count):
        atoms = bulk("Ar", "fcc", 5.3, cubic=True)
        atoms.rattle(0.1 + 0.01 * seed, seed=seed)
        made.append(atoms)
    return made


def selection(loop, name):
    """What an iteration has decided, from its file."""
    return json.loads((loop / name / "selection.json").read_text())
