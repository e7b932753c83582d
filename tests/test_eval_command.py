"""``halocline eval``: errors are what they should be; what is wrong with labels is said, and not mended."""

import csv
import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import halocline
from halocline.cli.main import main
from halocline.evaluation.accuracy import POINTS, Points
from halocline.evaluation.shifts import ElementShifts
from halocline.structures.write import extended_xyz

MODEL = "lennard-jones-argon"
#: Of results in float64 in batches of other sizes, in meV and so on: 1000 times `many.AGREEMENT`.
AGREEMENT = 1e-7


@pytest.fixture
def frames():
    """Crystals and pairs, labelled by the model itself."""
    rng = np.random.default_rng(1)
    structures = []
    for i in range(30):
        crystal = bulk("Ar", "fcc", 5.0 + 0.02 * i, cubic=True)
        crystal.rattle(0.1, seed=i)
        structures += [crystal, Atoms("Ar2", positions=[(0, 0, 0), rng.normal([0, 0, 3.8], 0.1)])]
    for atoms, result in zip(structures, halocline.load(MODEL).map(structures, dtype="float64"), strict=True):
        label(atoms, result.energy, result.forces, result.stress)
    return structures


def label(atoms, energy, forces, stress):
    results = {"energy": energy, "forces": forces, "stress": stress}
    given = {name: value for name, value in results.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **given)


def labels_of(atoms):
    return (atoms.calc.results.get(name) for name in ("energy", "forces", "stress"))


@pytest.fixture
def errors(tmp_path, capsys):
    """Write frames, compare the model with them, return the document and what was said."""

    def compared(frames, *words, status=0):
        path = tmp_path / "in.extxyz"
        path.write_bytes(extended_xyz(frames, exact=True))
        assert main(["eval", str(path), "-m", MODEL, "--dtype", "float64", "--json", *words]) == status
        printed = capsys.readouterr()
        return json.loads(printed.out), printed.err

    return compared


def test_labels_of_the_model_itself_leave_no_error(frames, errors):
    document, said = errors(frames)
    for name, found in document["errors"].items():
        assert found["max"] < AGREEMENT, name
    assert said == ""
    assert document["frames"] == len(frames)
    counts = {each["label"]: each["frames"] for each in document["labels"]}
    assert counts == {"energy": 60, "forces": 60, "stress": 30}
    assert document["errors"]["stress"]["count"] == 30 * 6
    assert document["errors"]["forces"]["count"] == 30 * 3 * (4 + 2)


def test_known_perturbations_are_the_errors(frames, errors):
    rng = np.random.default_rng(2)
    energies, forces, stresses = [], [], []
    for atoms in frames:
        energy, force, stress = labels_of(atoms)
        energies.append(rng.normal(0, 0.3))
        forces.append(rng.normal(0, 0.2, force.shape))
        if stress is not None:
            change = rng.normal(0, 0.01, (3, 3))
            stresses.append(change + change.T)
            stress = stress + stresses[-1]
        label(atoms, energy + energies[-1], force + forces[-1], stress)
    found = errors(frames)[0]["errors"]
    sizes = np.array([len(atoms) for atoms in frames])
    flat = np.concatenate([each.ravel() for each in forces])
    upper = np.array([each[np.triu_indices(3)] for each in stresses])
    lengths = np.concatenate([np.linalg.norm(each, axis=1) for each in forces])
    expected = {
        "energy": np.array(energies),
        "energy per atom": np.array(energies) / sizes,
        "forces": flat,
        "force vectors": lengths,
        "stress": upper.ravel(),
    }
    for name, values in expected.items():
        milli = np.abs(values) * 1000.0
        assert found[name]["mae"] == pytest.approx(milli.mean(), abs=AGREEMENT), name
        assert found[name]["rmse"] == pytest.approx(np.sqrt((milli**2).mean()), abs=AGREEMENT), name
        assert found[name]["max"] == pytest.approx(milli.max(), abs=AGREEMENT), name
        assert found[name]["count"] == len(milli)


def test_rotated_frames_have_the_same_force_errors(frames, errors):
    """Of lengths, and of components in the mean square; single components are seen from another side."""
    rng = np.random.default_rng(3)
    for atoms in frames:
        energy, forces, stress = labels_of(atoms)
        label(atoms, energy, forces + rng.normal(0, 0.2, forces.shape), stress)
    before = errors(frames)[0]["errors"]
    for atoms in frames:
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        energy, forces, stress = labels_of(atoms)
        atoms.set_cell(atoms.cell.array @ turn.T)
        atoms.positions = atoms.positions @ turn.T
        label(atoms, energy, forces @ turn.T, None if stress is None else turn @ stress @ turn.T)
    after = errors(frames)[0]["errors"]
    for name in ("mae", "rmse", "max"):
        assert after["force vectors"][name] == pytest.approx(before["force vectors"][name], rel=1e-9)
    assert after["forces"]["rmse"] == pytest.approx(before["forces"]["rmse"], rel=1e-9)
    assert after["stress"]["max"] < AGREEMENT * 10


def test_labels_that_are_not_there_are_named_and_not_zero(frames, errors):
    for place, atoms in enumerate(frames):
        energy, forces, _ = labels_of(atoms)
        label(atoms, energy if place % 2 else None, forces, None)
    document, said = errors(frames)
    assert document["errors"]["energy"]["count"] == 30
    assert document["errors"]["stress"] == {
        "unit": "meV/Å³",
        "count": 0,
        **dict.fromkeys(("mae", "rmse", "max", "r2", "std_of_labels")),
    }
    assert "no frame carries stress" in said


def test_files_without_labels_are_refused_with_what_they_carry(frames, tmp_path, capsys):
    for atoms in frames:
        energy, _, _ = labels_of(atoms)
        atoms.calc = None
        atoms.info["TotEnergy"] = energy
    write(tmp_path / "in.extxyz", frames)
    assert main(["eval", str(tmp_path / "in.extxyz"), "-m", MODEL]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "None of the 60 frames carries energy or forces or stress" in printed.err
    assert "TotEnergy (60)" in printed.err
    assert "--energy-key TotEnergy" in printed.err
    assert main(["eval", str(tmp_path / "in.extxyz"), "-m", MODEL, "--energy-key", "TotEnergy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"]["energy"]["count"] == 60


def test_bad_frames_and_bad_labels_fail_alone(frames, errors):
    frames[3].numbers[:] = 1
    frames[7].calc.results["energy"] = np.nan
    document, said = errors(frames, status=1)
    assert document["errors"]["energy"]["count"] == 58
    assert document["failed"] == 2
    assert "frame 3: The model does not know H" in said
    assert "energy of" in said
    assert "frame 7 is not finite" in said
    assert "2 of 60 structures were left out" in said


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        ({"forces": units.mol / units.kcal}, "kcal/mol/Å"),
        ({"forces": units.Bohr / units.Hartree}, "Hartree/Bohr"),
        ({"forces": -1.0}, "of the opposite sign"),
        ({"stress": 1.0 / units.GPa}, "GPa"),
        ({"stress": -10.0 / units.GPa}, "kbar and not in eV/Å³ and of the opposite sign"),
    ],
)
def test_other_units_and_signs_are_said_and_not_corrected(frames, errors, factor, unit):
    (name,) = factor
    for atoms in frames:
        if name in atoms.calc.results:
            atoms.calc.results[name] = atoms.calc.results[name] * factor[name]
    document, said = errors(frames)
    assert unit in said
    assert "Nothing was corrected" in said
    assert document["errors"][name]["rmse"] > 1.0
    assert document["hints"]


def test_a_shift_of_each_element_is_said_and_not_corrected(frames, errors):
    for atoms in frames:
        atoms.calc.results["energy"] += 7.25 * len(atoms)
    document, said = errors(frames)
    assert document["errors"]["energy per atom"]["mae"] == pytest.approx(7250.0)
    assert document["energy_shifts"]["values"] == {"Ar": pytest.approx(7.25)}
    assert "label less model is Ar +7.2500 eV" in said


@pytest.mark.parametrize("count", [3, 600, 2000])
def test_shifts_are_those_of_least_squares(count):
    rng = np.random.default_rng(count)
    numbers = [rng.choice([1, 6, 8], size=rng.integers(2, 9)) for _ in range(count)]
    true = {1: -13.6, 6: -1000.0, 8: 0.5}
    fit = ElementShifts(["H", "C", "N", "O"])
    for each in numbers:
        fit.add(each, sum(true[z] for z in each) + rng.normal(0, 0.01))
    found = fit.fit()
    if count == 3:
        assert found is None  # as many constants as structures fit anything
        return
    assert found.determined
    assert found.values == {
        "H": pytest.approx(-13.6, abs=0.01),
        "C": pytest.approx(-1000.0, abs=0.01),
        "O": pytest.approx(0.5, abs=0.01),
    }
    assert found.after < 0.01 < found.before


def test_shifts_of_one_composition_are_not_determined():
    fit = ElementShifts(["H", "O"])
    for _ in range(10):
        fit.add(np.array([8, 1, 1]), 3.0)
    found = fit.fit()
    assert not found.determined
    assert 2 * found.values["H"] + found.values["O"] == pytest.approx(3.0)
    assert found.after == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("REF_stress", "tensor"),
        ("REF_stress", "Voigt"),
        ("REF_virials", "tensor"),
        ("REF_virials", "Voigt"),
        ("virial", "tensor"),
    ],
)
def test_stress_comes_under_all_its_names(frames, errors, key, form):
    """What is called virial is minus the stress times the volume."""
    for atoms in frames:
        energy, forces, stress = labels_of(atoms)
        label(atoms, energy, forces, None)
        if stress is not None:
            value = stress if key == "REF_stress" else -stress * atoms.cell.volume
            if form == "Voigt":
                value = value[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            atoms.info[key] = value
    found = errors(frames)[0]["errors"]["stress"]
    assert found["count"] == 180
    assert found["max"] < AGREEMENT


def test_errors_of_each_frame_and_figure_are_written(frames, tmp_path, capsys):
    for atoms in frames:
        atoms.calc.results["energy"] += 0.004
    (tmp_path / "in.extxyz").write_bytes(extended_xyz(frames, exact=True))
    table, figure = tmp_path / "errors.csv", tmp_path / "parity.png"
    command = ["eval", str(tmp_path / "in.extxyz"), "-m", MODEL, "--dtype", "float64"]
    assert main([*command, "-o", str(table), "--plot", str(figure)]) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["energy_error_meV"]) for row in rows] == pytest.approx([-4.0] * 60)
    assert [row["stress_mae_meV_per_A3"] == "" for row in rows] == [False, True] * 30
    assert figure.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert "energy per atom" in shown
    assert main([*command, "-o", str(table)]) == 2
    assert main([*command, "-o", str(table), "--overwrite"]) == 0


@pytest.mark.parametrize("words", [["-o", "x.json"], ["-o", "no/x.csv"], ["--plot", "x.pdf"], ["--overwrite"]])
def test_outputs_without_sense_are_wrong_calls(frames, tmp_path, words):
    write(tmp_path / "in.extxyz", frames)
    assert main(["eval", str(tmp_path / "in.extxyz"), "-m", MODEL, *words]) == 2


def test_points_of_a_figure_are_bounded_and_drawn_evenly():
    points = Points()
    values = np.arange(10 * POINTS, dtype=np.float64)
    for chunk in np.array_split(values, 37):
        points.add(chunk, -chunk)
        assert points.pairs.shape[1] <= POINTS
    assert points.pairs.shape[1] == POINTS
    assert (points.pairs[0] == -points.pairs[1]).all()
    assert points.pairs[0].mean() == pytest.approx(values.mean(), rel=0.02)
    assert len(set(points.pairs[0])) == POINTS
