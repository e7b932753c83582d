"""Adapters change what a model gives only once they are trained, and nothing when they are merged."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from told_model import told

import halocline
from halocline.aggregation import Form
from halocline.errors import BackboneError, UsageError
from halocline.graph import NeighbourList, Structure
from halocline.model.adapters import adapted, adapters, merged
from halocline.model.build import build_backbone
from halocline.partition import whole
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.functional import energies_and_gradients_with, energies_with
from halocline.program.layout import lay_out

#: Of sums of a few products in float64.
ROUNDING = 1e-12


@pytest.fixture(params=["schnet", "m3gnet"])
def potential(request):
    config = registry().load("backbone", request.param).example_config()
    backbone = build_backbone(request.param, config, seed=1)
    return Potential(backbone, dict.fromkeys(backbone.species, -1.0), {})


def with_backbone(potential, backbone):
    return Potential(backbone, potential.reference_energies, potential.card)


def structure(potential):
    atoms = molecule("C2H6")
    atoms.symbols = np.resize(potential.species, len(atoms))
    return atoms


def train(backbone):
    """Move every adapter, as training would."""
    for number, adapter in enumerate(adapters(backbone)):
        generator = torch.Generator().manual_seed(number)
        adapter.up.data.normal_(0.0, 0.1, generator=generator)


def test_adapters_add_nothing_at_first_and_are_all_there_is_to_train(potential):
    model = adapted(potential.backbone, 2)
    atoms = structure(potential)
    before, after = potential(atoms, dtype="float64"), with_backbone(potential, model)(atoms, dtype="float64")
    np.testing.assert_allclose(after.forces, before.forces, rtol=0, atol=ROUNDING)
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert trained == {id(p) for adapter in adapters(model) for p in (adapter.up, adapter.down)}
    assert len(trained) > 4
    assert all(p.requires_grad for p in potential.backbone.parameters())


def test_merged_weights_give_the_same(potential, tmp_path):
    model = adapted(potential.backbone, 2, alpha=4.0, seed=3)
    train(model)
    atoms, tuned = structure(potential), with_backbone(potential, model)
    result = tuned(atoms, dtype="float64")
    assert np.abs(result.forces - potential(atoms, dtype="float64").forces).max() > 1e-4
    plain = with_backbone(potential, merged(model))
    assert not list(adapters(plain.backbone))
    assert list(adapters(model))
    assert set(plain.backbone.state_dict()) == set(potential.backbone.state_dict())
    np.testing.assert_allclose(plain(atoms, dtype="float64").forces, result.forces, rtol=0, atol=ROUNDING)
    tuned.save(tmp_path / "a.safetensors")
    loaded = halocline.load(tmp_path / "a.safetensors")
    np.testing.assert_allclose(loaded(atoms, dtype="float64").forces, result.forces, rtol=0, atol=ROUNDING)


def test_the_unmerged_model_is_differentiated_by_its_adapters(potential):
    model = adapted(potential.backbone, 2)
    train(model)
    inputs = laid_out(model, structure(potential))
    outputs = energies_and_gradients(model, inputs, differentiable=True)
    frozen = FrozenModel.freeze(model, Precision.FLOAT64, Capabilities.reference(Form.EDGES))
    expected = energies_and_gradients(frozen.backbone, inputs)
    torch.testing.assert_close(outputs.gradients, expected.gradients, rtol=0, atol=ROUNDING)
    (outputs.gradients**2).sum().backward()
    assert all(adapter.up.grad.abs().max() > 0 for adapter in adapters(model) if adapter.up.grad is not None)
    assert any(adapter.up.grad is not None for adapter in adapters(model))


def test_a_potential_follows_its_adapters(potential):
    tuned = with_backbone(potential, adapted(potential.backbone, 2))
    atoms = structure(potential)
    before = tuned(atoms, dtype="float64").energy
    train(tuned.backbone)
    assert tuned(atoms, dtype="float64").energy != before


def test_what_cannot_be_adapted_is_refused(potential):
    for rank in (0, -1, 1.0, True, "2"):
        with pytest.raises(UsageError, match="rank of adapters"):
            adapted(potential.backbone, rank)
    with pytest.raises(UsageError, match="No dense layer"):
        adapted(potential.backbone, 10_000)
    model = adapted(potential.backbone, 1)
    with pytest.raises(BackboneError, match="adapters already"):
        adapted(model, 1)


def laid_out(backbone, atoms):
    graph = NeighbourList(backbone.neighbours).graph(Structure.from_atoms(atoms))
    return lay_out(graph, whole(len(atoms), graph.edges, backbone.hops), Form.EDGES, Precision.FLOAT64)


def test_parameters_may_be_arguments():
    """A committee of one architecture in one call, and the derivative of an energy by every parameter."""
    members = [told(seed, told=[]).backbone for seed in range(3)]
    inputs = laid_out(members[0], molecule("H2O"))
    stacked = {name: torch.stack([m.state_dict()[name] for m in members]) for name in members[0].state_dict()}
    together = torch.vmap(lambda parameters: energies_and_gradients_with(members[0], parameters, inputs)[:])(
        stacked
    )
    for number, member in enumerate(members):
        expected = energies_and_gradients(member, inputs)
        for found, wanted in zip(together, expected, strict=True):
            torch.testing.assert_close(found[number], wanted, rtol=0, atol=ROUNDING)
    parameters = dict(members[0].named_parameters())
    slopes = torch.func.grad(lambda p: energies_with(members[0], p, inputs, inputs.vectors).sum())(parameters)
    energy = energies_with(members[0], parameters, inputs, inputs.vectors).sum()
    for name, expected in zip(
        parameters, torch.autograd.grad(energy, list(parameters.values()), materialize_grads=True), strict=True
    ):
        torch.testing.assert_close(slopes[name], expected, rtol=0, atol=ROUNDING)
