"""Labels are read loudly: from known keys, with counts, and never from half a file."""

import hashlib
import json

import ase.io
import numpy as np
import pytest
from ase.constraints import FixAtoms

from halocline.data import frames as frames_of_files
from halocline.data.labels import read_labels
from halocline.errors import TrainingError, UsageError
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.reference import fit_reference_energies
from halocline.training.result import make_card


def read_frames(files):
    return frames_of_files.read_frames([(str(file), file) for file in files])


def written(folder, frames):
    path = folder / "written.extxyz"
    ase.io.write(path, frames)
    return path


def test_calculator_results_are_the_default(tmp_path, argon):
    labels, counts = read_labels(read_frames([written(tmp_path, argon)]), {"energy": None, "forces": None})
    assert [(count.key, count.frames, count.total) for count in counts] == [("energy", 14, 14), ("forces", 14, 14)]
    for label, atoms in zip(labels, argon, strict=True):
        assert label.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)  # the file's eight digits
        np.testing.assert_allclose(label.forces, atoms.calc.results["forces"], atol=1e-8)


def test_reference_keys_come_before_results_and_a_given_key_before_both(tmp_path, argon):
    for atoms in argon:
        atoms.info |= {"REF_energy": 1.0, "TotEnergy": 2.0}
    frames = read_frames([written(tmp_path, argon)])
    assert read_labels(frames, {"energy": None, "forces": None})[0][0].energy == 1.0
    assert read_labels(frames, {"energy": "TotEnergy", "forces": None})[0][0].energy == 2.0
    assert read_labels(frames, {"energy": "energy", "forces": None})[0][0].energy == pytest.approx(
        argon[0].get_potential_energy()
    )


def test_constraints_do_not_zero_forces(tmp_path, argon):
    raw = argon[0].calc.results["forces"].copy()
    argon[0].set_constraint(FixAtoms([0, 1]))
    assert (argon[0].get_forces()[:2] == 0.0).all()
    frames = read_frames([written(tmp_path, argon[0])])
    assert frames[0].atoms.constraints  # the file keeps them as a move mask
    labels, _ = read_labels(frames, {"energy": None, "forces": None})
    np.testing.assert_allclose(labels[0].forces, raw, atol=1e-8)


def test_frames_without_a_label_are_counted_and_weigh_nothing(tmp_path, argon):
    del argon[3].calc.results["forces"]
    labels, counts = read_labels(read_frames([written(tmp_path, argon)]), {"energy": None, "forces": None})
    assert counts[1].frames == 13
    assert labels[3].forces is None


def test_no_label_lists_the_keys_that_were_seen(tmp_path, argon):
    for atoms in argon:
        atoms.calc = None
        atoms.info["dft_total"] = 1.0
    with pytest.raises(TrainingError, match=r"None of the 14 frames carries energy.*dft_total \(14\)"):
        read_labels(read_frames([written(tmp_path, argon)]), {"energy": None, "forces": None})


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("label", ["energy", "forces"])
def test_labels_that_are_not_finite_are_refused_by_frame(tmp_path, argon, label, value):
    results = argon[5].calc.results
    results[label] = value if label == "energy" else np.full((4, 3), value)
    with pytest.raises(TrainingError, match=f"{label} of frame 5 of written.extxyz is not finite"):
        read_labels(read_frames([written(tmp_path, argon)]), {"energy": None, "forces": None})


def test_a_label_of_the_wrong_shape_is_refused(tmp_path, argon):
    argon[0].info["total"] = np.array([1.0, 2.0])
    with pytest.raises(TrainingError, match=r"total of frame 0.*shape \(2,\)"):
        read_labels(read_frames([written(tmp_path, argon)]), {"energy": "total", "forces": None})


@pytest.mark.parametrize("cut", [1, 10, 60, 200, 400])
def test_a_truncated_file_is_refused(tmp_path, argon, cut):
    path = written(tmp_path, argon)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(TrainingError, match="cut short"):
        read_frames([path])


def test_a_file_cut_at_a_line_break_is_refused(tmp_path, argon):
    path = written(tmp_path, argon)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(TrainingError, match="should have 4 atoms, but 3 follow"):
        read_frames([path])


@pytest.mark.parametrize("text", ["", "four\n\n", "1\n\nQq 0 0 0\n", "1\n\nAr 0 zero 0\n"])
def test_a_file_that_is_no_extended_xyz_is_refused(tmp_path, text):
    path = tmp_path / "bad.extxyz"
    path.write_text(text)
    with pytest.raises(TrainingError, match=r"bad\.extxyz"):
        read_frames([path])


@pytest.mark.parametrize("name", ["momenta", "Velocities", "initial_magmoms"])
def test_no_key_is_proposed_that_says_how_a_structure_is(tmp_path, argon, name):
    for atoms in argon:
        atoms.calc = None
        atoms.info |= {"total_charge": 1.0, "dft_total": -3.0}
        atoms.set_array(name, np.ones((len(atoms), 3)))
    with pytest.raises(TrainingError) as raised:
        read_labels(read_frames([written(tmp_path, argon)]), {"energy": None, "forces": None})
    assert 'choose it with energy_key = "dft_total"' in str(raised.value)
    assert "total_charge" not in str(raised.value).split("choose it with")[1]
    with pytest.raises(TrainingError, match="None of these can be the forces"):
        read_labels(read_frames([written(tmp_path, argon)]), {"energy": None, "forces": None}, needed={"forces"})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"absent\.extxyz"):
        read_frames([tmp_path / "absent.extxyz"])


def test_one_structure_in_two_sets_is_refused_even_turned_and_renumbered(folder, argon):
    """Frame 3 trains; a rotated, renumbered copy of it must not test."""
    copy = argon[3][::-1]
    copy.rotate(40, (1, 2, 3), rotate_cell=True)
    copy.calc = argon[3].calc
    recipe = read_recipe(folder / "recipe.toml")
    target = prepare(recipe, folder).split
    assert 3 in target.train
    argon[target.test[0]] = copy
    ase.io.write(folder / "argon.extxyz", argon)
    with pytest.raises(TrainingError, match="serves two purposes"):
        prepare(recipe, folder)


def test_an_element_outside_the_training_frames_is_refused(folder, argon):
    recipe = read_recipe(folder / "recipe.toml")
    argon[prepare(recipe, folder).split.test[0]].symbols[0] = "Kr"
    ase.io.write(folder / "argon.extxyz", argon)
    with pytest.raises(TrainingError, match="contains Kr, but the model is made for Ar"):
        prepare(recipe, folder)


def test_reference_energies_are_exact_where_compositions_determine_them():
    structures = [np.array([1, 1, 8]), np.array([1, 8]), np.array([8, 8])]
    energies = [2 * -1.5 + -4.0, -1.5 + -4.0, -8.0]
    found, determined = fit_reference_energies(["H", "O"], structures, energies)
    assert determined
    assert found == pytest.approx({"H": -1.5, "O": -4.0}, abs=1e-12)


def test_reference_energies_of_one_composition_have_the_smallest_norm():
    found, determined = fit_reference_energies(["H", "O"], [np.array([1, 1, 8])] * 2, [9.0, 11.0])
    assert not determined
    assert found == pytest.approx({"H": 4.0, "O": 2.0}, abs=1e-12)  # the mean, along (2, 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [(True, "true or false"), (np.bool_(False), "true or false"), (1e300, r"value 1e\+300"), (-1e16, "-1e")],
)
def test_what_is_no_energy_is_refused_before_anything_is_fitted(tmp_path, argon, value, words):
    for atoms in argon:
        atoms.info["REF_energy"] = 1.0
    argon[2].info["REF_energy"] = value
    with pytest.raises(TrainingError, match=f"REF_energy of frame 2.*{words}"):
        read_labels(read_frames([written(tmp_path, argon)]), {"energy": None, "forces": None})


@pytest.mark.parametrize("label", ["energy", "forces"])
def test_a_label_that_weighs_nothing_need_not_be_there(folder, argon, edit_recipe, label):
    for atoms in argon:
        del atoms.calc.results[label]
        atoms.calc.results.pop("free_energy", None)
    ase.io.write(folder / "argon.extxyz", argon)
    with pytest.raises(TrainingError, match=f"carries {label}"):
        prepare(read_recipe(folder / "recipe.toml"), folder)
    edit_recipe("warmup_steps = 3", f"{label}_weight = 0.0")
    problem = prepare(read_recipe(folder / "recipe.toml"), folder)
    assert [count.frames for count in problem.counts if count.label == label] == [0]


def test_files_of_one_name_have_digests_of_their_own_as_they_were_read(folder, argon, edit_recipe, monkeypatch):
    """The card says what was trained on, even if the files are replaced or removed meanwhile, and not where."""
    monkeypatch.setenv("OTHER_DATA", str(folder / "b"))
    for name, frames in (("a", argon[:7]), ("b", argon[7:])):
        (folder / name).mkdir()
        ase.io.write(folder / name / "t.extxyz", frames)
    digests = [hashlib.sha256((folder / name / "t.extxyz").read_bytes()).hexdigest() for name in ("a", "b")]
    edit_recipe('files = ["argon.extxyz"]', 'files = ["a/t.extxyz", "${OTHER_DATA}/t.extxyz"]')
    problem = prepare(read_recipe(folder / "recipe.toml"), folder)
    (folder / "a" / "t.extxyz").unlink()
    (folder / "b" / "t.extxyz").write_text("another file")
    recipe = make_card(problem, None)["recipe"]
    assert recipe["files_sha256"] == dict(zip(["a/t.extxyz", "${OTHER_DATA}/t.extxyz"], digests, strict=True))
    assert str(folder) not in json.dumps(recipe)


def test_no_folder_of_this_machine_enters_a_card(folder, argon, edit_recipe):
    for name, frames in (("a", argon[:7]), ("b", argon[7:])):
        (folder / name).mkdir()
        ase.io.write(folder / name / "t.extxyz", frames)
    edit_recipe('files = ["argon.extxyz"]', f'files = ["{folder}/a/t.extxyz", "{folder}/b/t.extxyz"]')
    recipe = make_card(prepare(read_recipe(folder / "recipe.toml"), folder), None)["recipe"]
    assert list(recipe["files_sha256"]) == recipe["data"]["files"] == ["t.extxyz", "t.extxyz (2)"]
    assert str(folder) not in json.dumps(recipe)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, argon, monkeypatch):
    path = written(tmp_path, argon)
    read = frames_of_files.structures.stream_frames

    def slowly(*arguments):
        yield from read(*arguments)
        ase.io.write(path, argon[:3])

    monkeypatch.setattr(frames_of_files.structures, "stream_frames", slowly)
    with pytest.raises(TrainingError, match="changed while it was read"):
        read_frames([path])


def test_the_home_of_nobody_is_named(folder, edit_recipe):
    edit_recipe('files = ["argon.extxyz"]', 'files = ["~nosuchuser/t.extxyz"]')
    with pytest.raises(UsageError, match="nosuchuser"):
        prepare(read_recipe(folder / "recipe.toml"), folder)
