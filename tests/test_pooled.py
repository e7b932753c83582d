"""An energy of the mean over all atoms is the same however the structure is divided and evaluated."""

import numpy as np
import pytest
import torch
from structures import random_structure
from test_conditions import OPTIONS, usable
from told_model import told
from told_plugin import install_in

from halocline import sum_of
from halocline.aggregation import Form
from halocline.errors import BackboneError, LoweringError, UnknownElementError
from halocline.evaluator import local
from halocline.lowering import lower_structure
from halocline.model import Output
from halocline.potential import many
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.testing import check_backbone

SAYS = {"pooled": ["pooled"], "and charges": ["pooled", "charges"], "direct": ["pooled", "forces"]}


def structures():
    return [
        random_structure(seed, symbols=("H", "O"), atoms=9 + seed, pbc=seed % 2 == 0, edge=(3.0, 6.0))
        for seed in range(4)
    ]


def require_equal(found, expected):
    for name in ("energies", "forces", "virial", "charges"):
        reference, values = getattr(expected, name), getattr(found, name)
        assert (values is None) == (reference is None)
        if reference is not None:
            scale = max(1.0, np.abs(reference).sum() if name == "energies" else np.abs(reference).max())
            np.testing.assert_allclose(values, reference, rtol=0, atol=many.AGREEMENT["float64"] * scale)
    assert found.pooled is None


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_the_same_however_it_is_evaluated(says, options):
    asked, model = usable(OPTIONS[options]), told(told=[], says=SAYS[says])
    alone = [model(atoms, dtype="float64") for atoms in structures()]
    for found, expected in zip(model(structures(), **asked), alone, strict=True):
        require_equal(found, expected)
    require_equal(model(structures()[1], **asked), alone[1])


def test_forces_and_stress_are_derivatives_of_an_energy_that_is_no_sum():
    model = told(told=[], says=["pooled"])
    atoms, step = structures()[0], 1e-4
    result = model(atoms, dtype="float64")

    def energy(displaced=0.0, strain=0.0):
        moved = atoms.copy()
        moved.set_cell(moved.cell.array * (1.0 + strain), scale_atoms=True)
        moved.positions[3, 1] += displaced
        return model(moved, dtype="float64").energy

    assert -(energy(step) - energy(-step)) / (2 * step) == pytest.approx(result.forces[3, 1], abs=1e-6)
    slope = (energy(strain=step) - energy(strain=-step)) / (2 * step)
    assert slope == pytest.approx(np.trace(result.virial), abs=1e-5)
    double = atoms.repeat((2, 1, 1))  # the mean stays, and with it the energy of an atom
    assert model(double, dtype="float64").energy == pytest.approx(2 * result.energy)
    doubled = 2.0 * model.backbone.mean_energy.last.weight.detach()
    model.backbone.mean_energy.last.weight.data.copy_(doubled)
    assert model(atoms, dtype="float64").energy != result.energy


def test_the_energy_is_that_of_the_head():
    model = told(told=[], says=["pooled"])
    plain = told(told=[])
    plain.backbone.load_state_dict(model.backbone.state_dict(), strict=False)
    atoms = structures()[2]
    evaluator = model.evaluator("torch", "float64", "cpu", "none", "auto")._evaluator._evaluator
    structure = model.prepare(atoms).structure
    seen = evaluator.evaluate(structure.under({"pooled_weights": np.zeros((len(atoms), 4))}))
    sums = torch.from_numpy(seen.pooled.sum(axis=0)[None])
    head = float(model.backbone.mean_energy(sums, torch.tensor([float(len(atoms))], dtype=torch.float64)).detach())
    expected = plain(atoms, dtype="float64").energy + head
    assert abs(head) > 1e-2
    assert model(atoms, dtype="float64").energy == pytest.approx(expected)


def test_steps_on_the_device_sums_and_failures(monkeypatch):
    model, plain = told(told=[], says=["pooled"]), told(1, told=[])
    atoms = structures()[0]
    expected = model(atoms, dtype="float64")
    both = sum_of(model, plain)(atoms, dtype="float64")
    assert both.energy == pytest.approx(expected.energy + plain(atoms, dtype="float64").energy)
    bad = atoms.copy()
    bad.symbols[0] = "Ar"
    found = list(model.map([atoms, bad, atoms], errors="yield", dtype="float64"))
    assert isinstance(found[1], UnknownElementError)
    require_equal(found[2], expected)
    monkeypatch.setattr(local, "STAY_ON", ("cpu",))
    require_equal(told(told=[], says=["pooled"])(atoms, dtype="float64"), expected)


def test_what_does_not_hold_or_cannot_be_is_refused():
    model = told(told=[], says=["pooled"])
    with pytest.raises(LoweringError, match="takes two runs"):
        lower_structure(
            FrozenModel.freeze(model.backbone, Precision.FLOAT64, Capabilities.reference(Form.TABLE)), {}
        )
    model.backbone.outputs = (Output.ENERGIES,)
    with pytest.raises(BackboneError, match="has a pooled head if it declares pooled vectors"):
        FrozenModel.freeze(model.backbone, Precision.FLOAT64, Capabilities.reference(Form.EDGES))


@pytest.mark.slow
@pytest.mark.parametrize("halo", ["exchange", "recompute"])
def test_ranks_add_up_alike(halo, tmp_path, monkeypatch):
    install_in(tmp_path, monkeypatch)
    model = told(told=[], says=["pooled"])
    evaluator = model.evaluator("ddp:ranks=2,oversubscribe=true", "float64", "cpu", "none", halo)
    try:
        for atoms in structures()[:2]:
            require_equal(model.evaluate_with(evaluator, atoms), model(atoms, dtype="float64"))
    finally:
        evaluator.close()


@pytest.mark.slow
def test_the_conformance_suite_tells_conditions_and_takes_all_outputs():
    checks = ("declaration", "one-atom", "permutation", "forces", "stress", "lowering", "parts", "species")
    report = check_backbone(told(says=["charges", "pooled"]).backbone, checks=checks)
    assert report.ok, report
