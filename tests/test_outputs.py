"""What models say beside energies: magnetic moments, charges, and forces and virials of their own."""

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from structures import random_structure
from test_conditions import OPTIONS, usable
from told_model import told
from told_plugin import install_in

from halocline.aggregation import Form
from halocline.backends.ipu.executor import compile_program, fixed_capacity
from halocline.backends.ipu.rehearsal import require_rehearsal
from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.records import read_log
from halocline.dynamics.relaxation import Goal, relax
from halocline.errors import BackboneError, UsageError
from halocline.evaluator import local
from halocline.model import Output
from halocline.plugin import registry
from halocline.potential import many
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision

SAYS = {
    "values": ["magmoms", "charges"],
    "direct forces": ["forces"],
    "direct": ["forces", "virials", "charges"],
    "direct virial": ["virials"],
}
NAMES = ("energies", "forces", "virial", "magmoms", "charges")


def structures():
    return [
        random_structure(seed, symbols=("H", "O"), atoms=10 + seed, pbc=seed % 2 == 0, edge=(3.0, 6.0))
        for seed in range(4)
    ]


def require_equal(found, expected, largest=many.AGREEMENT["float64"]):
    for name in NAMES:
        reference, values = getattr(expected, name), getattr(found, name)
        assert (values is None) == (reference is None)
        if reference is not None:
            scale = max(1.0, np.abs(reference).sum() if name == "energies" else np.abs(reference).max())
            np.testing.assert_allclose(values, reference, rtol=0, atol=largest * scale, err_msg=name)


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("options", OPTIONS)
def test_everything_is_told_alike_however_it_is_evaluated(says, options):
    asked, model = usable(OPTIONS[options]), told(told=[], says=SAYS[says])
    alone = [model(atoms, dtype="float64") for atoms in structures()]
    for found, expected in zip(model(structures(), **asked), alone, strict=True):
        require_equal(found, expected)


@pytest.mark.parametrize("says", SAYS)
def test_a_step_on_the_device_tells_it_too(says, monkeypatch):
    monkeypatch.setattr(local, "STAY_ON", ("cpu",))
    model = told(says=SAYS[says])
    evaluator = model.evaluator("torch", "float64", "cpu", "none", "auto")
    for atoms in structures():
        for state in ({"charge": 1}, {"charge": -1}, {"electrons": 2.0}):  # of the same neighbours
            atoms.info.update(state)
            found = model.evaluate_with(evaluator, atoms, "PBE")
            require_equal(found, told(says=SAYS[says])(atoms, head="PBE", dtype="float64", halo="exchange"))


@pytest.mark.parametrize("says", SAYS)
def test_what_there_is_follows_from_what_is_declared(says):
    outputs = SAYS[says]
    plain, model = told(told=[]), told(told=[], says=outputs)
    for atoms in structures():
        result, derived = model(atoms, dtype="float64"), plain(atoms, dtype="float64")
        assert (result.magmoms is None) == ("magmoms" not in outputs)
        assert (result.charges is None) == ("charges" not in outputs)
        assert (result.virial is None) == ("forces" in outputs and "virials" not in outputs)
        if "forces" in outputs:
            assert np.abs(result.forces - derived.forces).max() > 1e-3
        if result.virial is not None:
            assert np.array_equal(result.virial, result.virial.T)
        assert (result.stress is None) == (result.virial is None or not atoms.pbc.all())


def test_readouts_are_added_up():
    model = told(told=[], says=["charges"])
    for charge, readout in zip((0.25, 1.0), model.backbone.reads, strict=True):
        readout.others["charges"].weight.data.zero_()
        readout.others["charges"].bias.data.fill_(charge)
    np.testing.assert_allclose(model(structures()[0], dtype="float64").charges, 1.25)


def test_ase_is_told():
    atoms = structures()[0]
    atoms.calc = told(told=[], says=["magmoms", "charges"]).calculator(dtype="float64")
    result = atoms.calc.potential(atoms, dtype="float64")
    assert np.array_equal(atoms.get_magnetic_moments(), result.magmoms)
    assert np.array_equal(atoms.get_charges(), result.charges)
    assert atoms.get_magnetic_moment() == result.magmoms.sum()
    atoms.calc = told(told=[]).calculator(dtype="float64")
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_charges()
    atoms.calc = told(told=[], says=["forces"]).calculator(dtype="float64")
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError, match="has no stress"):
        atoms.get_stress()


def test_direct_forces_are_refused_where_the_energy_has_to_be_kept(tmp_path):
    atoms, settings = molecule("H2O"), Settings(ensemble="nve", timestep=0.1)
    calculator, files = told(told=[], says=["forces"]).calculator(), RunFiles(tmp_path / "md")
    with pytest.raises(UsageError, match=r"no derivatives of its energy.*direct_forces=True"):
        run_dynamics(atoms, calculator, settings, files, steps=1)
    run_dynamics(atoms, calculator, settings, files, steps=1, direct_forces=True)
    run_dynamics(atoms, calculator, Settings(timestep=0.1), files, steps=1, overwrite=True)
    crystal = structures()[0]
    assert crystal.pbc.all()
    for says in (["forces"], ["forces", "virials"], ["virials"]):
        calculator = told(told=[], says=says).calculator()
        with pytest.raises(UsageError, match="the cell cannot relax"):
            relax(crystal, calculator, Goal(cell=True), path=tmp_path / "a.extxyz", log=tmp_path / "a.csv")


def test_a_crystal_moves_without_a_stress_and_is_evaluated_once_a_step(tmp_path, monkeypatch):
    crystal, calls = structures()[0], []
    evaluate = Potential.evaluate_prepared

    def counted(*arguments):
        calls.append(arguments)
        return evaluate(*arguments)

    monkeypatch.setattr(Potential, "evaluate_prepared", counted)
    calculator, files = told(told=[], says=["forces"]).calculator(dtype="float64"), RunFiles(tmp_path / "md")
    options = {"steps": 5, "minimum_distance": 0.0}
    run_dynamics(crystal, calculator, Settings(timestep=0.1, log_interval=1), files, **options)
    assert len(calls) == 6
    log = read_log(files.log)
    assert np.isnan(log["pressure_GPa"]).all()
    np.testing.assert_allclose(log["volume_A3"], crystal.get_volume(), rtol=1e-12)
    _, last = relax(crystal, calculator, Goal(max_steps=2), path=tmp_path / "a.extxyz", log=tmp_path / "a.csv")
    assert last.pressure is None
    assert last.volume == pytest.approx(crystal.get_volume())
    settings = Settings(ensemble="npt", timestep=0.1)
    with pytest.raises(UsageError, match="no stress, which npt needs: choose nvt"):
        run_dynamics(crystal, calculator, settings, RunFiles(tmp_path / "npt"), **options)


def test_declarations_that_do_not_hold_are_refused():
    model = told(told=[])
    for outputs, words in (
        ((Output.FORCES, Output.ENERGIES), "energies come first"),
        ((Output.ENERGIES, Output.CHARGES, Output.CHARGES), "each of the others once"),
        ((), "declares the outputs none"),
        ((Output.ENERGIES, Output.CHARGES), "returns the charges that it declares"),
    ):
        model.backbone.outputs = outputs
        with pytest.raises(BackboneError, match=words):
            model(molecule("H2O"))


def test_the_exported_model_tells_it_too(tmp_path):
    pytest.importorskip("onnx", reason="the exporter needs onnx")
    exporter = registry().load("exporter", "onnx")()
    written = {
        says: exporter.export(told(told=[], says=SAYS[says]), Precision.FLOAT64, tmp_path / "model.onnx").outputs
        for says in SAYS
    }
    names = {says: [value.name for value in outputs] for says, outputs in written.items()}
    assert names["values"] == ["energies", "energy", "forces", "virial", "magmoms", "charges"]
    assert names["direct"] == ["energies", "energy", "forces", "virials", "charges"]


def test_programs_for_ipus_tell_it_too():
    model = told(told=[], says=SAYS["values"])
    atoms = molecule("H2O")
    require_equal(model(atoms, backend="ipu:target=cpu"), model(atoms), many.AGREEMENT["float32"])
    frozen = FrozenModel.freeze(model.backbone, Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    capacity = fixed_capacity(frozen, 8, 8)
    require_rehearsal(compile_program(frozen, capacity), model.backbone, capacity)


@pytest.mark.slow
@pytest.mark.parametrize("halo", ["exchange", "recompute"])
def test_ranks_tell_it_too(halo, tmp_path, monkeypatch):
    install_in(tmp_path, monkeypatch)
    model = told(told=[], says=["magmoms", "forces"])
    atoms = structures()[2]
    evaluator = model.evaluator("ddp:ranks=2,oversubscribe=true", "float64", "cpu", "none", halo)
    try:
        require_equal(model.evaluate_with(evaluator, atoms), model(atoms, dtype="float64"))
    finally:
        evaluator.close()
