"""Reference energies: fitted, given, of isolated atoms, kept from a parent or shifted."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from rattled_argon import MODEL

import halocline
from halocline.errors import HaloclineError
from halocline.model.build import build_backbone
from halocline.training.device import make_fabric
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.result import finish
from halocline.training.run import TrainingRun

#: eV; of least squares in float64 with energies of some tens of eV.
ROUNDING = 1e-10


def single(symbol, energy, side=None):
    cell = {} if side is None else {"cell": [side] * 3, "pbc": True}
    atoms = Atoms(symbol, **cell)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=np.zeros((1, 3)))
    return atoms


@pytest.fixture
def mixed(folder, argon):
    """Up to two of the four atoms are neon, with labels of another level of theory than any model's."""
    for i, atoms in enumerate(argon):
        atoms.numbers[: i % 3] = 10
        results = {"energy": -500.0 * 4 + 100.0 * (i % 3) + 0.01 * i, "forces": atoms.calc.results["forces"]}
        atoms.calc = SinglePointCalculator(atoms, **results)
    ase.io.write(folder / "argon.extxyz", argon)
    return argon


@pytest.fixture
def prepared(folder, edit_recipe):
    """The problem of the recipe with a table [references] of these lines, and with other keys of the model."""

    def prepare_with(lines="", model=MODEL):
        path = edit_recipe(MODEL, f"{model}\n[references]\n{lines}\n")
        return prepare(read_recipe(path), folder)

    return prepare_with


@pytest.fixture
def parent(folder):
    config = {"species": ["Ar", "Ne"], "features": 8, "gaussians": 8, "layers": 1, "cutoff": 5.0}
    potential = halocline.Potential(build_backbone("schnet", config, seed=3).eval(), {"Ar": -1.0, "Ne": -2.0}, {})
    potential.save(folder / "parent.safetensors")
    return potential


FROM = '[model]\nfrom = "parent.safetensors"\n'


def test_given_energies_are_taken_out_as_they_are(prepared, mixed):
    problem = prepared('kind = "given"\nvalues = { Ne = -3, Ar = -500.5 }')
    assert problem.reference_energies == {"Ne": -3.0, "Ar": -500.5}
    assert problem.references_determined
    assert problem.reference(1) == -3.0 - 3 * 500.5  # frame 1 has one neon


@pytest.mark.parametrize("side", [None, 20.0])
def test_isolated_atoms_give_theirs(folder, prepared, mixed, side):
    """In vacuum, or in a cell so wide that no image is a neighbour; a crystal of one atom is no isolated atom."""
    singles = [single("Ar", -499.0, side), single("Ne", -400.25, side), single("Ar", -1.0, 4.0)]
    ase.io.write(folder / "argon.extxyz", [*mixed, *singles])
    assert prepared('kind = "isolated"').reference_energies == {"Ne": -400.25, "Ar": -499.0}


def test_isolated_atoms_that_are_missing_or_disagree_are_named(folder, prepared, mixed, edit_recipe):
    ase.io.write(folder / "argon.extxyz", [*mixed, single("Ar", -499.0)])
    with pytest.raises(HaloclineError, match="No frame is an isolated atom of Ne"):
        prepared('kind = "isolated"')
    ase.io.write(folder / "argon.extxyz", [*mixed, single("Ar", -499.0), single("Ne", -4.0), single("Ar", -498.0)])
    with pytest.raises(
        HaloclineError, match=r"frame 14 of .* and frame 16 of .* isolated atoms of Ar .*-499 and -498"
    ):
        prepare(read_recipe(folder / "recipe.toml"), folder)


def test_a_parents_are_kept(prepared, mixed, parent):
    problem = prepared('kind = "keep"', FROM)
    assert problem.reference_energies == parent.reference_energies
    assert problem.references_determined


def test_elements_that_the_data_do_not_have_keep_the_parents(folder, prepared, argon, parent):
    """A universal parent knows many; the argon of the data says nothing about neon."""
    problem = prepared("", FROM)
    assert problem.reference_energies["Ne"] == parent.reference_energies["Ne"]
    assert problem.reference_energies["Ar"] != parent.reference_energies["Ar"]
    assert problem.references_determined
    path = folder / "recipe.toml"
    given = '[references]\nkind = "given"\nvalues = { Ar = 3 }'
    path.write_text(path.read_text().replace("[references]", given))
    assert prepare(read_recipe(path), folder).reference_energies == {"Ar": 3.0, "Ne": -2.0}


@pytest.mark.parametrize("lines", ["", 'kind = "shift"'])
def test_a_shift_takes_out_what_an_element_is_off(prepared, mixed, parent, lines):
    """What is left of the errors of the parent on the training frames has no part that follows the composition."""
    problem = prepared(lines, FROM)
    assert problem.references_determined
    shifted = halocline.Potential(parent.backbone, problem.reference_energies, {})
    before, after, counts = [], [], []
    for i in problem.split.train:
        energy = mixed[i].calc.results["energy"]
        before.append(energy - parent(mixed[i], dtype="float64", device="cpu").energy)
        after.append(energy - shifted(mixed[i], dtype="float64", device="cpu").energy)
        counts.append([np.sum(mixed[i].numbers == 18), np.sum(mixed[i].numbers == 10)])
    assert np.abs(np.transpose(counts) @ after).max() < 1e3 * ROUNDING
    assert np.abs(after).max() < 0.1 < 1000.0 < np.abs(before).min()


def test_a_fit_from_a_shifted_parent_begins_near_its_labels(folder, prepared, mixed, parent):
    """Energies that are 2000 eV off would take the weights nowhere."""
    problem = prepared("", FROM)
    run = TrainingRun(problem, folder / "run", make_fabric("cpu", "float32"), resume=False)
    run.train(lambda record: None)
    assert run.history[0].energy_mae < 100.0  # meV/atom
    potential, _ = finish(run, "cpu")
    assert potential.reference_energies == problem.reference_energies
    assert potential.card["recipe"]["references"] == {"kind": None, "values": {}}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('kind = "given"', "give both or neither"),
        ("values = { Ar = -1.0 }", "give both or neither"),
        ('kind = "given"\nvalues = { Ar = -1.0 }', "references.values lacks Ne"),
        ('kind = "given"\nvalues = { Ar = -1.0, Ne = -2.0, Kr = 1.0 }', "references.values has Kr"),
        ('kind = "given"\nvalues = { Ar = nan, Ne = 0 }', "references.values.Ar must be an energy in eV"),
        ('kind = "given"\nvalues = { Ar = "1", Ne = 0 }', "references.values.Ar must be an energy in eV"),
        ('kind = "given"\nvalues = { Argon = 1 }', "references.values must be a table of chemical symbols"),
        ('kind = "fitted"', "references.kind must be 'fit' or"),
        ('kinds = "fit"', "did you mean 'kind'"),
        ('kind = "shift"', "references.kind 'shift' is of a parent, and model.from names none"),
        ('kind = "keep"', "references.kind 'keep' is of a parent"),
    ],
)
def test_what_means_nothing_is_refused_by_key(prepared, mixed, lines, message):
    with pytest.raises(HaloclineError, match=message):
        prepared(lines)
