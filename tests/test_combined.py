"""Sums of potentials are sums of what they give, and committees are their means, however they are evaluated."""

import numpy as np
import pytest
from ase.build import molecule
from structures import random_structure
from test_conditions import OPTIONS, usable
from told_model import CONDITIONS, Told, told

from halocline import committee_of, sum_of
from halocline.aggregation import Form
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.errors import BackboneError, StructureError, UsageError
from halocline.graph import NeighbourList
from halocline.model import Condition
from halocline.model.build import build_backbone
from halocline.potential import many
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision


def pair(cutoff=3.0):
    """A pair potential without reference energies, for elements of which the network knows two."""
    config = {"species": ["O", "H", "Ar"], "epsilon": [0.4, 0.2, 0.1], "sigma": [1.2, 0.9, 2.0], "cutoff": cutoff}
    return Potential(build_backbone("lennard-jones", config), {"O": 0.0, "H": 0.0, "Ar": 0.0}, {"name": "pairs"})


def structures():
    return [
        random_structure(seed, symbols=("H", "O"), atoms=9 + seed, pbc=seed % 2 == 0, edge=(3.0, 6.0))
        for seed in range(4)
    ]


def require_close(found, expected, scale=1.0):
    np.testing.assert_allclose(found, expected, rtol=0, atol=many.AGREEMENT["float64"] * max(1.0, scale))


#: Whole, in parts, and in a backend that takes one structure at a time.
SOME = ("eager", "onnx", "parts", "exchanging parts")


@pytest.mark.parametrize("options", SOME)
@pytest.mark.parametrize("cutoff", [3.0, 4.0])  # the network has the first
def test_a_sum_is_the_sum_of_its_terms(cutoff, options):
    asked, terms = usable(OPTIONS[options]), (told(told=[]), pair(cutoff))
    whole = sum_of(*terms)
    assert whole.species == ("H", "O")
    found = whole(structures(), **asked)
    for atoms, result in zip(structures(), found, strict=True):
        one, other = (term(atoms, dtype="float64") for term in terms)
        scale = np.abs(one.energies).sum()
        require_close(result.energies, one.energies + other.energies, scale)
        require_close(result.forces, one.forces + other.forces, np.abs(other.forces).max())
        require_close(result.virial, one.virial + other.virial, np.abs(other.virial).max())
        alone = whole(atoms, **asked)
        require_close(alone.forces, result.forces, np.abs(other.forces).max())


@pytest.mark.parametrize("options", SOME)
def test_a_committee_is_the_mean_of_its_members(options):
    asked = usable(OPTIONS[options])
    members = [told(seed, told=[], says=["charges"]) for seed in range(3)]
    members[1].reference_energies["O"] += 0.5
    whole = committee_of(*members)
    for atoms, result in zip(structures(), whole(structures(), **asked), strict=True):
        alone = [member(atoms, dtype="float64") for member in members]
        scale = max(np.abs(each.energies).sum() for each in alone)
        for name in ("energies", "forces", "virial", "charges"):
            require_close(getattr(result, name), np.mean([getattr(each, name) for each in alone], axis=0), scale)
        require_close(result.spread.energy, np.std([each.energy for each in alone]), scale)
        require_close(result.spread.energies, np.std([each.energies for each in alone], axis=0), scale)
        differences = np.array([each.forces for each in alone]) - result.forces
        expected = np.sqrt((np.linalg.norm(differences, axis=2) ** 2).mean(axis=0))
        np.testing.assert_allclose(result.spread.forces, expected, atol=1e-8)
        assert result.spread.forces.max() > 1e-2


@pytest.mark.parametrize(("cutoffs", "searches"), [((3.0, 3.0), 1), ((3.0, 4.0), 2)])
def test_neighbours_are_searched_once_for_each_cutoff(cutoffs, searches, monkeypatch):
    count = []
    search = NeighbourList._search
    monkeypatch.setattr(NeighbourList, "_search", lambda *args: count.append(1) or search(*args))
    sum_of(told(told=[], cutoff=cutoffs[0]), pair(cutoffs[1]))(structures()[0])
    assert len(count) == searches


def test_terms_are_told_what_they_take():
    whole = sum_of(told(told=["charge"]), told(1, told=["head"]), pair())
    atoms = molecule("H2O")
    atoms.info["charge"] = 1
    parts = [told(told=["charge"])(atoms), told(1, told=["head"])(atoms, head="PBE"), pair()(atoms)]
    assert whole(atoms, head="PBE").energy == pytest.approx(sum(part.energy for part in parts))
    with pytest.raises(StructureError, match="needs its head"):
        whole(atoms)
    other = told(1, told=["charge"])
    other.backbone.conditions = (Condition(name="charge", kind="integer", default=1),)
    assert other.backbone.conditions != (CONDITIONS["charge"],)
    with pytest.raises(UsageError, match="'charge' differently"):
        sum_of(told(told=["charge"]), other)


def test_what_cannot_be_combined_is_refused():
    argon = Potential(pair().backbone, dict.fromkeys(("O", "H", "Ar"), 0.0), {})
    with pytest.raises(UsageError, match="two potentials or more, not 1"):
        sum_of(argon)
    config = {"species": ["Kr"], "epsilon": [0.4], "sigma": [1.2], "cutoff": 3.0}
    krypton = Potential(build_backbone("lennard-jones", config), {"Kr": 0.0}, {})
    with pytest.raises(UsageError, match="no element in common"):
        committee_of(argon, krypton)
    with pytest.raises(UsageError, match="charges, which cannot be added up"):
        sum_of(told(says=["charges"]), told(says=["charges"]))
    with pytest.raises(UsageError, match="do not all tell the same"):
        committee_of(told(says=["charges"]), told())


def test_no_file_or_program_is_made_of_a_sum(tmp_path):
    whole = sum_of(told(told=[]), pair())
    for attempt in (
        lambda: whole.save(tmp_path / "a.safetensors"),
        lambda: FrozenModel.freeze(whole.backbone, Precision.FLOAT64, Capabilities.reference(Form.EDGES)),
    ):
        with pytest.raises(BackboneError, match="a sum of told, lennard-jones, which has no stages of its own"):
            attempt()
    with pytest.raises(UsageError, match="one model at a time"):
        whole(molecule("H2O"), backend="ddp:ranks=2")


def test_calculators_and_dynamics_take_sums_and_committees(tmp_path):
    whole = committee_of(sum_of(told(told=[]), pair()), sum_of(told(1, told=[]), pair()))
    atoms, calculator = molecule("H2O"), whole.calculator(dtype="float64")
    atoms.calc = calculator
    result = whole(atoms, dtype="float64")
    assert np.array_equal(atoms.get_forces(), result.forces)
    assert np.array_equal(calculator.spread.forces, result.spread.forces)
    settings, files = Settings(ensemble="nve", timestep=0.1), RunFiles(tmp_path / "md")
    run_dynamics(atoms, calculator, settings, files, steps=2)
    assert run_dynamics(atoms, calculator, settings, files, steps=4, resume=True).step == 4
    first = next(module for module in whole.backbone.modules() if isinstance(module, Told))
    first.reads[0].energies.bias.data += 1.0
    assert atoms.get_potential_energy() == pytest.approx(result.energy + 0.5 * len(atoms))
