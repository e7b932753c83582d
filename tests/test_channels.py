"""Channels: what a backbone declares can be removed, and what the pruner removes matters least."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read

import halocline
from halocline.errors import BackboneError, StructureError, UsageError
from halocline.model.pruner import pruned
from halocline.model.thinning import thinned, widths
from halocline.plugins.backbones.lennard_jones import LennardJones
from halocline.plugins.backbones.m3gnet import M3GNet
from halocline.plugins.backbones.mace import MACE
from halocline.plugins.backbones.schnet import SchNet
from halocline.plugins.pruners.importance import importances, stand_ins
from halocline.potential.potential import Potential
from halocline.testing import check_backbone

SHIPPED = "water-revpbe0d3-schnet"
BOX = Path(__file__).parents[1] / "examples" / "water.extxyz"

#: Config of each kind whose channels differ in what writes and reads them.
VARIANTS = [
    (SchNet, {}),
    (SchNet, {"neighbours": "nearest", "nearest_count": 5}),
    (M3GNet, {}),
    (M3GNet, {"dialect": "mattersim", "sums": "centre"}),
    (M3GNet, {"radial": "bessel"}),
    (MACE, {}),
    (MACE, {"first_block": "agnostic", "later_blocks": "agnostic", "density": True, "layers": 3}),
    (MACE, {"heads": ["a", "b"], "default_head": "a", "head_scales": [1.0, 2.0], "head_energies": 4 * [0.0]}),
]


def build(kind, more=None):
    return kind.from_config(kind.example_config() | (more or {}))


@pytest.mark.parametrize(("kind", "more"), VARIANTS, ids=lambda value: getattr(value, "name", None))
def test_channels_that_nothing_reads_can_be_removed(kind, more):
    (result,) = check_backbone(build(kind, more), checks=["channels"]).results
    assert result.status == "passed", result.message


@pytest.mark.parametrize(("kind", "more"), VARIANTS, ids=lambda value: getattr(value, "name", None))
def test_importance_is_zero_where_nothing_reads_a_channel(kind, more):
    backbone = build(kind, more)
    weights = backbone.state_dict()
    for each in backbone.channels:
        for place in each.read:
            weights[place.weight].select(place.dim, place.first + each.size - 1).zero_()
    backbone.load_state_dict(weights)
    for of_channels in importances(backbone, stand_ins(backbone)[:1]):
        assert of_channels[-1] == 0.0
        assert (of_channels[:-1] > 0.0).any()


def alone(backbone):
    """A potential without reference energies."""
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


def atoms_of(graph):
    structure = graph.structure
    return Atoms(structure.numbers, positions=structure.positions)


def test_importance_is_the_change_of_forces():
    """Against a difference: reading weights of one channel are scaled by 1 ± step."""
    backbone, step = build(SchNet), 1e-4
    graph = stand_ins(backbone)[0]
    which, number = 1, 3
    found = importances(backbone, [graph], seed=5)[which][number]
    changes = []
    for sign in (1.0, -1.0):
        weights = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
        for place in backbone.channels[which].read:
            weights[place.weight].select(place.dim, place.first + number).mul_(1.0 + sign * step)
        other = build(SchNet)
        other.load_state_dict(weights)
        changes.append(torch.from_numpy(alone(other)(atoms_of(graph), dtype="float64").forces))
    derivative = (changes[0] - changes[1]) / (2.0 * step)
    # The mean over random directions is exact for many; two directions are drawn as the function draws them.
    generator = torch.Generator().manual_seed(5)
    directions = [torch.randn(derivative.shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    expected = np.mean([float((derivative * each).sum()) ** 2 / len(derivative) for each in directions])
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def shipped():
    return halocline.load(SHIPPED)


@pytest.fixture(scope="module")
def water():
    return read(BOX)


def change(potential, backbone, atoms):
    """eV/Å, mean change of force components where a smaller backbone takes the place of the model's."""
    smaller = dataclasses.replace(potential, backbone=backbone.eval())
    return np.abs(smaller(atoms, dtype="float64").forces - potential(atoms, dtype="float64").forces).mean()


def random_channels(backbone, keep, seed):
    """The control: as many channels, drawn by lot."""
    generator, found = torch.Generator().manual_seed(seed), widths(backbone)
    kept = []
    for each in backbone.channels:
        value, step = found[each.width]
        left = each.size * (round(value * keep / step) * step) // value
        kept.append(torch.randperm(each.size, generator=generator)[:left].sort().values)
    return thinned(backbone, kept)


@pytest.mark.slow  # forces are differentiated by all weights
@pytest.mark.parametrize("keep", [0.9, 0.75])
def test_importance_beats_chance_before_any_fine_tuning(shipped, water, keep):
    chance = min(change(shipped, random_channels(shipped.backbone, keep, seed), water) for seed in range(3))
    blind = change(shipped, pruned(shipped.backbone, f"channels:keep={keep}"), water)
    seeing = change(shipped, pruned(shipped.backbone, f"channels:keep={keep},structures={BOX}"), water)
    assert seeing < blind < chance


def test_what_is_left_is_a_model_like_any_other(shipped, water, tmp_path):
    small = dataclasses.replace(shipped, backbone=pruned(shipped.backbone, "2+channels:keep=0.5"))
    assert (small.backbone.config["layers"], small.backbone.config["features"]) == (2, 32)
    small.save(tmp_path / "small.safetensors")
    loaded = halocline.load(tmp_path / "small.safetensors")
    whole = loaded(water, dtype="float64")
    parts = loaded(water, dtype="float64", partition="rcb:3")
    assert np.array_equal(small(water, dtype="float64").forces, whole.forces)
    np.testing.assert_allclose(parts.forces, whole.forces, atol=1e-10)
    onnx = loaded(water, backend="onnx", dtype="float64")
    np.testing.assert_allclose(onnx.forces, whole.forces, atol=1e-9)


def test_the_same_channels_go_every_time(shipped):
    first, second = (pruned(shipped.backbone, "channels:keep=0.9").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_pruners_in_turn_do_what_they_do_one_by_one():
    backbone = build(SchNet)
    at_once = pruned(backbone, "2+channels:keep=0.5")
    in_turn = pruned(pruned(backbone, "depth:layers=2"), "channels:keep=0.5")
    assert at_once.config == in_turn.config
    assert all(torch.equal(a, b) for a, b in zip(at_once.parameters(), in_turn.parameters(), strict=True))


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        ("channels", "needs the option keep"),
        ("channels:keep=0", "must be above 0 and at most 1, not 0"),
        ("channels:keep=1.5", "not 1.5"),
        ("channels:keep=nan", "not nan"),
        ("channels:keep=0.99", r"leaves all channels of 'schnet' \(features = 16\)"),
        ("2+", "no pruner named"),
        ("2+chanels:keep=0.5", "did you mean 'channels'"),
    ],
)
def test_what_cannot_be_had_is_refused(prune, message):
    with pytest.raises(UsageError, match=message):
        pruned(build(SchNet), prune)


def test_backbone_without_channels_is_refused_by_name():
    with pytest.raises(UsageError, match="'lennard-jones' does not say which of its weights"):
        pruned(build(LennardJones), "channels:keep=0.5")


def test_structures_that_the_model_does_not_know_are_refused(tmp_path):
    from ase.build import bulk

    bulk("Cu").write(tmp_path / "copper.extxyz")
    with pytest.raises(StructureError, match=r"frame 0 of .*copper.extxyz: The model does not know Cu"):
        pruned(build(SchNet), f"channels:keep=0.5,structures={tmp_path / 'copper.extxyz'}")
    with pytest.raises(StructureError, match=r"missing\.extxyz"):
        pruned(build(SchNet), f"channels:keep=0.5,structures={tmp_path / 'missing.extxyz'}")


def test_places_that_are_not_declared_are_named():
    class Forgetful(SchNet):
        @property
        def channels(self):
            first, *others = super().channels
            return dataclasses.replace(first, read=first.read[:-1]), *others

    with pytest.raises(BackboneError, match=r"declare every place of its channels; see layers.2.sender.weight"):
        pruned(build(Forgetful), "channels:keep=0.5")


def test_compressed_models_are_pruned_before_they_are_compressed(shipped, tmp_path):
    from halocline.potential.compress import compressed

    compressed(shipped).save(tmp_path / "tables.safetensors")
    with pytest.raises(UsageError, match="Prune the exact model, and compress what is left"):
        halocline.load(tmp_path / "tables.safetensors", prune="channels:keep=0.5")


def test_channels_of_the_documentation_are_right():
    """The example of docs/backbones.md with the channels that the page declares for it."""
    page = (Path(__file__).parents[1] / "docs" / "backbones.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    scope = {"__name__": "pebble"}
    exec(blocks[0], scope)
    (declared,) = [block for block in blocks if "def channels" in block]
    exec("from halocline.model.channels import Channels, Place, inputs, outputs\n" + declared, scope)
    scope["Pebble"].channels = scope["channels"]
    backbone = build(scope["Pebble"])
    (result,) = check_backbone(backbone, checks=["channels"]).results
    assert result.status == "passed", result.message
    assert pruned(backbone, "channels:keep=0.5").config["features"] == 8
