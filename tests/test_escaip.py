"""EScAIP gives what upstream gives, forces of a gradient do not jump, and pruning is what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from oracles.escaip.models import MODELS, seeded, structures

from halocline.aggregation import Form
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.errors import BackboneError, LoweringError, UsageError
from halocline.lowering import lower_structure
from halocline.model.build import build_backbone
from halocline.model.pruner import pruned
from halocline.plugin import registry
from halocline.plugins.backbones.escaip import EScAIPConfig
from halocline.plugins.backbones.escaip.attention import legendre
from halocline.plugins.equivariance import spherical_harmonics
from halocline.plugins.pruners.channels import ChannelPruner
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.testing import check_backbone

ANSWERS = json.loads((Path(__file__).parent / "oracles" / "escaip" / "answers.json").read_text(encoding="utf-8"))

#: Of the largest energy, force and stress: rounding of sums, in both precisions.
AGREEMENT = {"float64": 1e-10, "float32": 1e-5}

#: Å, on either side of where a neighbour comes or goes, and eV and eV/Å: what smooth functions do in that.
NEAR, SAME = 1e-6, 1e-4


def potential(backbone):
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {"summary": "A test."})


def example(**changes):
    config = registry().load("backbone", "escaip").example_config()
    return build_backbone("escaip", config | changes, seed=0)


@pytest.mark.parametrize("precision", AGREEMENT)
@pytest.mark.parametrize("name", MODELS)
def test_energies_forces_and_stress_are_those_of_upstream(name, precision):
    model = potential(seeded(name))
    for case, atoms in structures().items():
        answer = ANSWERS[f"{name} {case}"]
        found = model(atoms, dtype=precision, device="cpu")
        for what, theirs in answer.items():
            ours, theirs = np.array(getattr(found, what)), np.array(theirs)
            assert np.abs(ours - theirs).max() <= AGREEMENT[precision] * max(np.abs(theirs).max(), 1e-3), what


def test_polynomials_are_products_of_harmonics():
    vectors = torch.nn.functional.normalize(torch.randn(2, 5, 3, dtype=torch.float64), dim=-1)
    vectors[1, 4] = 0.0
    harmonics = spherical_harmonics(vectors, 3)
    for degree, found in enumerate(legendre(vectors, 4)):
        part = harmonics[..., degree**2 : (degree + 1) ** 2] / (2 * degree + 1) ** 0.5
        expected = part @ part.transpose(1, 2)
        there = (vectors != 0.0).any(-1).double()
        expected = expected * there[:, :, None] * there[:, None] if degree else torch.ones_like(expected)
        assert torch.allclose(found[:, 1:, 1:], expected, rtol=0.0, atol=1e-13)
        assert (found[:, 0, 1:] == (0.0 if degree else 1.0)).all()


#: Numbers of upstream in a small space.
UPSTREAM = {"cutoff": 3.0, "softness": 0.2, "sharpness": 0.1}


def cluster(count, apart):
    """Atoms about the first one, the last of them at a distance."""
    rng = np.random.default_rng(8)
    places = rng.normal(size=(count, 3))
    places *= np.linspace(1.6, 2.6, count)[:, None] / np.linalg.norm(places, axis=1)[:, None]
    places[-1] *= apart / np.linalg.norm(places[-1])
    return Atoms("O" + "H" * count, positions=[[0, 0, 0], *places])


@pytest.mark.parametrize("forces", ["gradient", "direct"])
def test_nothing_jumps_where_neighbours_come_and_go(forces):
    """At the cutoff, where the rank reaches k, and where a rank ends to count."""
    model = potential(example(**UPSTREAM, nearest=4, forces=forces))

    def at(apart, count):
        return model(cluster(count, apart), dtype="float64", device="cpu")

    for count in (2, 7):
        places = np.linspace(2.0, 3.8, 60)
        found = [at(apart, count) for apart in (*places, 3.0 - NEAR, 3.0 + NEAR)]
        inside, outside = found[-2:]
        assert abs(inside.energy - outside.energy) < SAME
        assert np.abs(inside.forces - outside.forces).max() < SAME
        if forces == "gradient":  # what it is said to be the gradient of is followed without a jump
            pull = [
                result.forces[-1] @ (cluster(count, a).positions[-1] / a)
                for result, a in zip(found[:-2], places, strict=True)
            ]
            steps = np.diff([result.energy for result in found[:-2]])
            work = -0.5 * (np.array(pull[1:]) + np.array(pull[:-1])) * np.diff(places)
            assert np.abs(steps - work).max() < 0.05 * max(np.abs(steps).max(), 1e-3)


def test_counted_orders_jump_as_upstream_says_they_do():
    """A neighbour that comes is one more to take the mean of, however far it is."""

    def jump(smooth):
        model = potential(example(**UPSTREAM, nearest=12, smooth=smooth))
        near, far = (
            model(cluster(2, 2.9995 + step), dtype="float64", device="cpu").energy for step in (-2e-3, 2e-3)
        )
        return abs(near - far)

    assert jump(False) > 10.0 * jump(True)


@pytest.mark.parametrize("forces", ["gradient", "direct"])
def test_a_pruned_model_lacks_what_later_layers_add(forces):
    full = seeded("direct" if forces == "direct" else "gradient")
    smaller = pruned(full, 1)
    assert set(smaller.state_dict()) < set(full.state_dict()) | {
        name for name in smaller.state_dict() if ".pull." in name
    }
    atoms = structures()["molecule"]
    with torch.no_grad():  # all that later layers add to features that outputs are read from
        for layer in full.layers[1:]:
            layer.share.out.weight.zero_()
    expected = potential(full)(atoms, dtype="float64", device="cpu")
    found = potential(smaller)(atoms, dtype="float64", device="cpu")
    assert np.abs(found.energies - expected.energies).max() < 1e-12
    assert smaller.hops == full.hops - len(full.layers) + 1


def test_published_sizes_are_what_they_were():
    config = EScAIPConfig.published("H640L6", ["H", "O"], smooth=True)
    assert (config.hidden, config.layers, config.heads) == (640, 6, 10)
    assert (config.capacity, config.nearest, config.smooth) == (49, 30, True)
    with pytest.raises(UsageError, match="H640L6"):
        EScAIPConfig.published("H640L10", ["H"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"heads": 3}, r"add up to the features of a head, 8 / 3"),
        ({"frequencies": [0, 4]}, "begin with one or more"),
        ({"capacity": 5}, "5 is below 6"),
        ({"cutoff": 0.0}, "positive"),
        ({"species": ["Xx"]}, "chemical symbols"),
        ({"gaussians": 1}, "two functions"),
        ({"layers": 0}, "one feature, head, layer"),
    ],
)
def test_impossible_sizes_are_refused(changes, named):
    with pytest.raises(BackboneError, match=named):
        example(**changes)


def test_unknown_kinds_of_forces_are_refused():
    with pytest.raises((BackboneError, UsageError), match="both"):
        example(forces="both")


@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_parts_are_the_whole(halo):
    """Edges keep their state where they are: no rank sends them."""
    model = potential(example())
    atoms = structures()["liquid"]
    atoms.symbols = ["H" if symbol == "C" else symbol for symbol in atoms.symbols]
    expected = model(atoms, dtype="float64", device="cpu")
    found = model(atoms, dtype="float64", device="cpu", partition="rcb:2", halo=halo)
    assert np.abs(found.energies - expected.energies).max() < 1e-12
    assert np.abs(found.forces - expected.forces).max() < 1e-12


def test_compressed_distances_are_distances():
    """Gaussians and their dense layers are functions of the length alone, so that a table may stand for them."""
    model = potential(example())
    atoms = structures()["liquid"]
    expected = model(atoms, dtype="float64", device="cpu")
    found = model(atoms, dtype="float32", device="cpu", compress=True)
    assert np.abs(found.forces - expected.forces).max() < 1e-4 * np.abs(expected.forces).max()


def test_exports_and_thinner_channels_are_refused():
    lists = r"'escaip' has several lists of neighbours.* Evaluate the model with a backend"
    with pytest.raises(LoweringError, match=lists):
        lower_structure(FrozenModel.freeze(example(), Precision.FLOAT64, Capabilities.reference(Form.TABLE)), {})
    with pytest.raises(UsageError, match="'escaip' does not say which of its weights belong to one channel"):
        ChannelPruner(0.5).prune(example())


def test_what_needs_a_derivative_refuses_direct_forces(tmp_path):
    """Constant energy, and stress, of the whole or in parts."""
    model = potential(example(forces="direct"))
    atoms = Atoms("OH2", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)], cell=[4.0] * 3, pbc=True)
    for options in ({}, {"partition": "rcb:2"}):
        atoms.calc = model.calculator(dtype="float64", device="cpu", **options)
        assert np.isfinite(atoms.get_forces()).all()
        with pytest.raises(PropertyNotImplementedError, match="has no stress"):
            atoms.get_stress()
    with pytest.raises(UsageError, match="nve would not keep"):
        run_dynamics(atoms, atoms.calc, Settings(ensemble="nve"), RunFiles(tmp_path / "run.traj"), steps=1)


def test_cells_below_the_cutoff_and_more_neighbours_than_are_ranked_are_no_errors():
    """Images are neighbours like others, of which the nearest are ranked; two cells are two of one."""
    model = potential(example(nearest=3, capacity=6))
    cell = Atoms("OH2", [(0, 0, 0), (0.96, 0.1, 0), (-0.24, 0.93, 0)], cell=[3.1, 2.9, 3.3], pbc=True)
    small, large = (model(each, dtype="float64", device="cpu") for each in (cell, cell * (2, 1, 1)))
    assert large.energy == pytest.approx(2.0 * small.energy, rel=1e-12)
    assert np.abs(large.forces - np.tile(small.forces, (2, 1))).max() < 1e-12


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"smooth": False}, "Means over neighbours"),
        ({"nearest": 30, "capacity": 49}, "Only the 49 nearest"),
    ],
)
def test_cards_say_where_energies_jump(changes, said):
    remark = example(**changes).rank_remark
    assert remark.startswith(said)
    assert bool(remark) == bool(said)


@pytest.mark.slow
def test_direct_forces_keep_the_contract_and_do_not_claim_to_turn():
    checks = ["declaration", "config", "one-atom", "permutation", "forms", "float32", "rotation", "reflection"]
    results = check_backbone(example(forces="direct"), checks=checks).results
    assert not {result.check for result in results if result.status == "failed"}
    assert {result.check for result in results if result.status == "skipped"} == {"rotation", "reflection"}
