"""What is wrong with files of labels is found and named, and nothing is said of good ones."""

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from data_files import write_in

import halocline.data.look as module
from halocline.cli.main import main
from halocline.data.labels import Labels
from halocline.data.look import look
from halocline.data.magnitudes import Magnitudes
from halocline.structures.units import Units

NO_KEYS = {"energy": None, "forces": None, "stress": None}


def copper(count, seed=0, step=0.02):
    """A walk in small steps at the temperature of a melt: frames that are near those before them."""
    generator = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=seed)
    frames = []
    for _ in range(count):
        atoms.positions += generator.normal(scale=step, size=(4, 3))
        frame = atoms.copy()
        frame.calc = EMT()
        energy, forces = frame.get_potential_energy(), frame.get_forces()
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
        frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def walk():
    return copper(12)


def report_of(path, *others, **options):
    return look([path, *others], NO_KEYS, options.get("units"))


def test_good_files_are_good(tmp_path, walk):
    ase.io.write(tmp_path / "a.extxyz", walk)
    found = report_of(tmp_path / "a.extxyz")
    (report,) = found.files
    assert found.is_good
    assert report.remarks == found.outliers == found.duplicates == report.problems == []
    assert (report.frames, report.atoms, report.elements, report.periodic) == (12, (4, 4), {"Cu": 12}, 12)
    forces = np.array([atoms.calc.results["forces"] for atoms in walk])
    assert report.forces_rms == pytest.approx(np.sqrt((forces**2).mean()), rel=1e-6)
    assert report.largest_force == pytest.approx(np.linalg.norm(forces, axis=2).max(), rel=1e-6)
    shortest = min(atoms.get_all_distances(mic=True)[np.triu_indices(4, 1)].min() for atoms in walk)
    assert report.shortest == {"Cu-Cu": pytest.approx(shortest, abs=1e-6)}


@pytest.mark.parametrize(
    ("energy", "length", "sign", "words"),
    [
        (1.0, 1.0, -1.0, ["these are gradients"]),
        (1.0, units.Bohr, 1.0, ["positions in Bohr?"]),
        (units.kcal / units.mol, 1.0, 1.0, ["Forces are large for eV/Å", "if they are in kcal/mol/Å"]),
        (units.Hartree, 1.0, 1.0, []),
    ],
)
def test_other_units_are_found_by_magnitude(tmp_path, walk, energy, length, sign, words):
    """Of energies in Hartree the forces alone tell, once they are small enough."""
    strong = [atoms.copy() for atoms in walk]
    for atoms, old in zip(strong, walk, strict=True):
        results = {name: 2.0 * old.calc.results[name] for name in ("energy", "forces")}
        atoms.calc = SinglePointCalculator(atoms, **results)
    write_in(tmp_path / "a.traj", strong, energy, length, sign)
    remarks = " ".join(report_of(tmp_path / "a.traj").files[0].remarks)
    assert all(each in remarks for each in words), remarks
    stated = {"energy": "eV", "length": "Å", "forces_are": "forces" if sign > 0 else "gradients"}
    stated["energy"] = {1.0: "eV", units.Hartree: "Hartree"}.get(energy, "kcal/mol")
    stated["length"] = "Å" if length == 1.0 else "Bohr"
    assert report_of(tmp_path / "a.traj", units=Units(**stated)).files[0].remarks == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (units.Bohr / units.Hartree, "energies in eV and forces in Hartree/Bohr"),
        (units.Bohr, "forces per Bohr and positions in Å"),
        (units.mol / units.kcal, "energies in eV and forces in kcal/mol/Å"),
    ],
)
def test_forces_that_do_not_belong_to_the_energies_are_found_by_their_work(walk, factor, words):
    magnitudes = Magnitudes()
    for atoms in walk:
        results = atoms.calc.results
        magnitudes.add(atoms, Labels(results["energy"], results["forces"] * factor))
    assert words in " ".join(magnitudes.remarks())


@pytest.mark.parametrize(
    ("formula", "hartree"), [("H2O", -76.4), ("CH4", -40.5), ("CO2", -188.6), ("C6H6", -232.2)]
)
def test_total_energies_in_hartree_are_told_by_their_size(formula, hartree):
    """Energies of density functionals with all electrons, from the literature."""
    for unit, said in ((1.0, "in Hartree"), (units.Hartree, ""), (627.5, "in kcal/mol")):
        magnitudes = Magnitudes()
        magnitudes.add(molecule(formula), Labels(hartree * unit, None))
        remarks = " ".join(magnitudes.remarks())
        assert said in remarks
        assert bool(remarks) == bool(said)


def test_small_forces_are_minima_or_in_hartree_per_bohr(walk):
    magnitudes = Magnitudes()
    for atoms in walk:
        magnitudes.add(atoms, Labels(None, atoms.calc.results["forces"] * 0.001))
    assert "Either these are minima, or they are in Hartree/Bohr" in " ".join(magnitudes.remarks())


def test_leaks_between_files_are_found_whatever_lies_between_them(tmp_path, walk):
    twin = walk[3][::-1]
    twin.rotate(40, (1, 2, 3), rotate_cell=True)
    ase.io.write(tmp_path / "train.extxyz", walk)
    ase.io.write(tmp_path / "test.extxyz", [*copper(3, seed=5), twin])
    found = report_of(tmp_path / "train.extxyz", tmp_path / "test.extxyz")
    assert not found.is_good
    assert list(found.shared.values()) == [1]
    (group,) = found.duplicates
    assert [name.split(" of ")[0] for name in group] == ["frame 3", "frame 3"]
    assert main(["data", "look", str(tmp_path / "train.extxyz"), str(tmp_path / "test.extxyz")]) == 1


def test_outliers_and_net_forces_are_named(tmp_path, walk):
    frames = [atoms.copy() for atoms in walk]
    for atoms, old in zip(frames, walk, strict=True):
        atoms.calc = SinglePointCalculator(atoms, **{k: old.calc.results[k] for k in ("energy", "forces")})
    frames[7].calc.results["energy"] += 400.0
    frames[9].calc.results["forces"] = frames[9].calc.results["forces"] + 300.0
    ase.io.write(tmp_path / "a.extxyz", frames)
    found = report_of(tmp_path / "a.extxyz")
    assert {words.split(" of ")[0] for words in found.outliers} == {"frame 7", "frame 9"}
    assert found.files[0].unbalanced == 1
    assert found.files[0].largest_net_force == pytest.approx(300.0 * np.sqrt(3), rel=1e-6)


def test_labels_that_are_none_are_counted_and_nothing_is_lost(tmp_path, walk, capsys):
    frames = [atoms.copy() for atoms in walk]
    for i, (atoms, old) in enumerate(zip(frames, walk, strict=True)):
        energy = np.nan if i in (2, 5) else old.calc.results["energy"]
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=old.calc.results["forces"])
    ase.io.write(tmp_path / "a.traj", frames)
    assert main(["data", "look", str(tmp_path / "a.traj"), "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)["files"]
    assert report["problem_count"] == 2
    assert "frame 2 of a.traj is not finite" in report["problems"][0]
    assert report["frames"] == 12


def test_a_file_that_was_cut_off_is_looked_at_as_far_as_it_goes(tmp_path, walk, capsys):
    path = tmp_path / "a.extxyz"
    ase.io.write(path, walk)
    path.write_bytes(path.read_bytes()[:-200])
    (report,) = report_of(path).files
    assert report.problem_count == 1
    assert "cut short" in report.problems[0]
    assert report.frames > 5
    assert main(["data", "look", str(path), str(tmp_path / "absent.xyz")]) == 1
    assert "There is no data file" in capsys.readouterr().err


def test_no_label_at_all_is_a_problem_with_a_hint(tmp_path):
    atoms = Atoms("He", info={"dft": 1.0})
    ase.io.write(tmp_path / "a.extxyz", [atoms])
    (report,) = report_of(tmp_path / "a.extxyz").files
    assert "choose it with --energy-key dft" in report.problems[0]


def test_frames_beyond_what_is_kept_are_said_to_be_left_out(tmp_path, walk, monkeypatch, capsys):
    monkeypatch.setattr(module, "MOST_COMPARED", 5)
    ase.io.write(tmp_path / "a.extxyz", walk)
    assert main(["data", "look", str(tmp_path / "a.extxyz")]) == 0
    output = capsys.readouterr()
    assert "7 frames were not searched for duplicates and outliers" in output.err
    assert "frames" in output.out


def test_training_warns_of_units_and_of_net_forces(tmp_path, walk, caplog):
    from halocline.training.problem import prepare
    from halocline.training.recipe import make_recipe

    frames = [atoms.copy() for atoms in walk]
    for atoms, old in zip(frames, walk, strict=True):
        forces = -old.calc.results["forces"] + [0.0, 0.0, 0.1]
        atoms.calc = SinglePointCalculator(atoms, energy=old.calc.results["energy"], forces=forces)
    ase.io.write(tmp_path / "a.traj", frames)
    recipe = {
        "data": {"train_files": ["a.traj"]},
        "model": {"backbone": "schnet", "config": {"features": 8, "layers": 1, "cutoff": 3.0}},
        "training": {"epochs": 1},
    }
    prepare(make_recipe(recipe), tmp_path)
    assert "these are gradients" in caplog.text
    assert "the forces of 12 of its first 12 frames do not add up to zero" in caplog.text
