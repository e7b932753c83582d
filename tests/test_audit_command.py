"""``halocline audit``: what it tells is what it should be, and it ends, goes on and refuses as promised."""

import csv
import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

import halocline
from halocline.audit import audit as whole
from halocline.audit.folder import AuditFolder
from halocline.audit.labels.label_errors import LabelErrors
from halocline.audit.stability import run as run_module
from halocline.audit.stability.plan import Plan
from halocline.cli.main import main
from halocline.data.labels import Labels
from halocline.evaluation.frames import Frame
from halocline.evaluator.result import Result
from halocline.structures.write import extended_xyz

MODEL = "lennard-jones-argon"
#: meV, meV/Å and degrees: results in float64 in batches of other sizes, printed and read again.
AGREEMENT = 1e-6


def crystal(seed, label=True):
    """Argon, displaced from its sites, labelled by the model itself."""
    atoms = bulk("Ar", "fcc", 5.4, cubic=True) * 2
    atoms.rattle(0.1, seed=seed)
    if label:
        result = halocline.load(MODEL)(atoms, dtype="float64")
        atoms.calc = SinglePointCalculator(atoms, energy=result.energy, forces=result.forces, stress=result.stress)
    return atoms


def write(path, frames):
    path.write_bytes(extended_xyz(frames, exact=True))
    return str(path)


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "in.extxyz", [crystal(seed) for seed in range(6)])


@pytest.fixture
def audited(tmp_path, capsys):
    """Audit, and return the document and what was said."""

    def run(*words, status=0, folder="out"):
        given = ["audit", MODEL, *words, "-o", str(tmp_path / folder), "--dtype", "float64", "--json"]
        assert main(given) == status
        printed = capsys.readouterr()
        return (json.loads(printed.out) if printed.out else None), printed.err

    return run


def test_labels_of_the_model_itself_leave_no_error(audited, data, tmp_path):
    found, said = audited(data)
    errors = found["labels"]["errors"]
    for name in ("energy", "forces", "force magnitude", "force angle", "stress"):
        assert errors[name]["count"] > 0, name
        assert errors[name]["max"] < AGREEMENT, name
    assert errors["energy per molecule"]["count"] == 0  # atoms of argon are no molecules
    assert found["curl"] == {"conservative": True}
    assert "conservative by construction" in (tmp_path / "out" / "report.html").read_text()
    assert found["tally"] == {"frames": 6, "left_out": 0, "reasons": [], "outside": []}
    assert said.splitlines() == [f"Wrote {tmp_path / 'out' / 'report.html'}."]
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == found
    rows = list(csv.DictReader((tmp_path / "out" / "structures.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == [str(i) for i in range(6)]
    assert all(abs(float(row["force_magnitude_mae_meV_per_A"])) < AGREEMENT for row in rows)


def test_forces_that_are_turned_and_stretched_are_off_by_that():
    """By 30° about an axis that they are at right angles to, and by a tenth of their length."""
    rng = np.random.default_rng(0)
    atoms = molecule("CH3CH2OH")
    flat = rng.normal(size=(9, 3)) * [1, 1, 0]
    turn = np.radians(30.0)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    errors = LabelErrors(["H", "C", "O"])
    result = Result(energies=np.full(9, 1.0), forces=1.1 * flat @ rotation.T, virial=None, volume=None)
    own = errors.add(Frame("x", 0, atoms), Labels(9.3, flat), result)
    lengths = np.linalg.norm(flat, axis=1)
    assert own["force angle MAE"] == pytest.approx(30.0)
    assert own["force magnitude MAE"] == pytest.approx(100.0 * lengths.mean())
    assert own["energy error per molecule"] == pytest.approx(-300.0)
    assert own["molecules"] == 1
    told = errors.document()
    assert told["errors"]["force angle"]["rmse"] == pytest.approx(30.0)
    for symbol in ("H", "C", "O"):
        there = np.array(list(atoms.symbols)) == symbol
        found = told["elements"][symbol]["force magnitude"]
        assert found["mae"] == pytest.approx(100.0 * lengths[there].mean())
        assert found["count"] == there.sum()


def test_energies_of_molecules_are_shared_among_them():
    cluster = molecule("H2O")
    for place in (1, 2):
        other = molecule("H2O")
        other.translate([4.0 * place, 0, 0])
        cluster += other
    errors = LabelErrors(["H", "O"])
    result = Result(energies=np.full(9, -1.0), forces=np.zeros((9, 3)), virial=None, volume=None)
    own = errors.add(Frame("x", 0, cluster), Labels(-9.6, None), result)
    assert own["molecules"] == 3
    assert own["energy error per molecule"] == pytest.approx(200.0)


def test_forces_without_a_direction_have_no_angle():
    errors = LabelErrors(["Ar"])
    labels = np.array([[0.001, 0, 0], [1.0, 0, 0]])
    result = Result(energies=np.zeros(2), forces=-labels, virial=None, volume=None)
    own = errors.add(Frame("x", 0, Atoms("Ar2", [[0, 0, 0], [5, 0, 0]])), Labels(None, labels), result)
    assert errors.quantities["force angle"].count == 1
    assert own["force angle MAE"] == pytest.approx(180.0)


def test_frames_without_labels_are_audited_for_their_structure(audited, tmp_path):
    data = write(tmp_path / "in.extxyz", [crystal(seed, label=False) for seed in range(4)])
    found, _ = audited(data)
    assert "errors" not in found["labels"]
    assert found["distributions"]["reference"]["frames"] == 4
    assert [each["name"] for each in found["distributions"]["distributions"]] == ["Ar–Ar"]
    report = (tmp_path / "out" / "report.html").read_text()
    assert "No frame carries a label" in report
    assert not (tmp_path / "out" / "parity.png").exists()


def test_a_trajectory_of_the_same_frames_is_at_no_distance(audited, data):
    found, _ = audited(data, "--trajectory", data)
    (each,) = found["distributions"]["distributions"]
    assert each["distances"] == pytest.approx(dict.fromkeys(each["distances"], 0.0), abs=1e-12)
    assert each["within_reference"]["jensen_shannon"] > 0.0


def test_a_swollen_trajectory_is_as_far_as_it_is_swollen(audited, data, tmp_path):
    """Clusters, whose distances are compared as they are: all are longer by a tenth, so is their mean."""
    triangle = Atoms("Ar3", [[0, 0, 0], [3.8, 0, 0], [1.9, 3.3, 0]])
    wider = triangle.copy()
    wider.positions *= 1.1
    found, _ = audited(
        write(tmp_path / "a.extxyz", [triangle]), "--trajectory", write(tmp_path / "b.extxyz", [wider])
    )
    (each,) = found["distributions"]["distributions"]
    expected = 0.1 * triangle.get_all_distances()[np.triu_indices(3, 1)].mean()
    assert each["distances"]["wasserstein"] == pytest.approx(expected, abs=0.002)  # a bin
    assert each["distances"]["kolmogorov_smirnov"] == pytest.approx(1.0)


def test_runs_that_hold_are_told(audited, data, tmp_path):
    found, _ = audited(
        *(data, "--starts", "3", "--steps", "30", "--temperature", "20", "--timestep", "5", "--ensemble", "nve")
    )
    stability = found["stability"]
    assert stability["summary"]["survived"] == stability["summary"]["runs"] == 3
    assert len({run["source"] for run in stability["runs"]}) == 3
    for run in stability["runs"]:
        assert run["steps"] == 30
        assert abs(run["total_drift_meV_per_atom_per_ps"]) < 1.0  # argon at 20 K has 2.6 meV of kinetic energy
    assert found["distributions"]["trajectory"]["frames"] == 3 * 4
    assert (tmp_path / "out" / "stability.png").exists()


def test_runs_that_explode_are_findings_and_no_failure(audited, data, tmp_path):
    found, _ = audited(data, "--starts", "2", "--steps", "50", "--timestep", "500", "--temperature", "300")
    stability = found["stability"]
    assert stability["summary"]["survived"] == 0
    for run in stability["runs"]:
        assert not run["survived"]
        assert "The run stopped near step" in run["reason"]
    assert "Why runs ended" in (tmp_path / "out" / "report.html").read_text()


def test_more_starts_than_frames_differ_by_their_velocities(audited, tmp_path):
    data = write(tmp_path / "in.extxyz", [crystal(0)])
    found, _ = audited(data, "--starts", "2", "--steps", "2")
    one, other = found["stability"]["runs"]
    assert one["source"] == other["source"]
    assert one["seed"] != other["seed"]
    assert one["temperature_K"] != other["temperature_K"]


def test_a_second_model_with_another_zero_sees_the_same_trace(audited, data, tmp_path):
    potential = halocline.load(MODEL)
    potential.reference_energies["Ar"] += 0.25
    potential.save(tmp_path / "other.safetensors")
    found, _ = audited(data, "--trajectory", data, "--second", str(tmp_path / "other.safetensors"))
    (trace,) = found["traces"]["trajectories"]
    assert trace["frames"] == 6
    assert trace["offset_meV_per_atom"] == pytest.approx(250.0)
    assert trace["rms_after_offset_meV_per_atom"] == pytest.approx(0.0, abs=AGREEMENT)
    assert trace["force_rmse_meV_per_A"] == pytest.approx(0.0, abs=AGREEMENT)
    assert trace["climb_meV_per_atom"] == pytest.approx(trace["second_climb_meV_per_atom"])
    rows = list(csv.DictReader((tmp_path / "out" / "traces.csv").read_text().splitlines()))
    for row in rows:
        gap = float(row["second_energy_eV_per_atom"]) - float(row["energy_eV_per_atom"])
        assert gap == pytest.approx(0.25)


def test_frames_that_cannot_be_evaluated_are_named_and_left_out(audited, tmp_path):
    frames = [crystal(0), bulk("Cu"), crystal(1)]
    found, said = audited(write(tmp_path / "in.extxyz", frames), status=1)
    assert found["tally"]["left_out"] == 1
    assert "frame 1: The model does not know Cu" in said
    assert found["labels"]["errors"]["energy"]["count"] == 2


def test_a_format_that_is_named_is_not_that_of_runs(audited, tmp_path):
    (tmp_path / "start").write_bytes(b"")
    crystal(0, label=False).write(tmp_path / "start", format="vasp")
    found, _ = audited(str(tmp_path / "start"), "--format", "vasp", "--starts", "1", "--steps", "10")
    assert found["distributions"]["trajectory"]["frames"] == 2


@pytest.mark.parametrize(("steps", "interval"), [(30, 10), (2000, 10), (2001, 11), (20_000, 100)])
def test_long_runs_do_not_leave_more_frames(steps, interval):
    assert Plan(1, steps).of_start(0).frame_interval == interval


def test_a_start_that_cannot_be_evaluated_is_told(audited, tmp_path):
    frames = [crystal(0), bulk("Cu")]
    found, _ = audited(write(tmp_path / "in.extxyz", frames), "--starts", "2", "--steps", "3", status=1)
    good, bad = found["stability"]["runs"]
    assert good["survived"]
    assert good["steps"] == 3
    assert not bad["survived"]
    assert bad["steps"] is None
    assert "does not know Cu" in bad["reason"]


def test_frames_of_a_split_file_are_taken(audited, data, tmp_path):
    np.savez(tmp_path / "split.npz", train_idx=[0, 1], val_idx=[2], test_idx=[3, 5])
    audited(data, "--indices", str(tmp_path / "split.npz"))
    rows = list(csv.DictReader((tmp_path / "out" / "structures.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == ["3", "5"]
    found, _ = audited(data, "--indices", str(tmp_path / "split.npz"), "--set", "train", folder="train")
    assert found["labels"]["frames"] == found["distributions"]["reference"]["frames"] == 2
    np.savez(tmp_path / "long.npz", train_idx=[0], test_idx=[6])
    _, said = audited(data, "--indices", str(tmp_path / "long.npz"), status=1, folder="long")
    assert "has 6 frames, so there is no frame 6, counted from 0" in said
    for words, message in (
        (("--set", "test"), "name that with --indices"),
        (("--indices", str(tmp_path / "split.npz"), "--set", "tests"), "did you mean 'test'"),
        (("--indices", str(tmp_path / "split.npz"), "--set", "reserve"), "has no frames in its set reserve"),
    ):
        _, said = audited(data, *words, status=2, folder="none")
        assert message in said


def test_clusters_in_hdf5_have_the_labels_that_they_state(tmp_path, capsys):
    """In kcal/mol, with gradients: labels of the model itself leave no more error than single precision."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed, which reads HDF5")
    water = molecule("H2O")
    water.rattle(0.05, seed=1)
    result = halocline.load("water-revpbe0d3-schnet")(water, dtype="float64")
    kcal = units.kcal / units.mol
    with h5py.File(tmp_path / "min.hdf5", "w") as file:
        file["z"], file["pos"], file["size"] = water.numbers[None], water.positions[None], [[1]]
        file["y"], file["f"] = [[result.energy / kcal]], -result.forces[None] / kcal
    words = ["audit", "water-revpbe0d3-schnet", str(tmp_path / "min.hdf5"), "-o", str(tmp_path / "out")]
    assert main([*words, "--dtype", "float64", "--json"]) == 0
    errors = json.loads(capsys.readouterr().out)["labels"]["errors"]
    assert errors["forces"]["max"] < AGREEMENT
    assert errors["energy per molecule"]["max"] < AGREEMENT
    assert errors["force angle"]["count"] == 3


def test_numbers_too_large_for_json_are_none(tmp_path):
    with AuditFolder(tmp_path / "out", resume=False) as folder:
        found = folder.part("x", {}, lambda: {"a": [1.0, float("inf")], "b": (float("nan"), "nan", 2)})
        assert found == {"a": [1.0, None], "b": [None, "nan", 2]}
        assert folder.part("x", {}, dict) == found


def test_two_processes_do_not_audit_in_one_folder(audited, data, tmp_path):
    with AuditFolder(tmp_path / "out", resume=False):
        _, said = audited(data, "--resume", status=1)
    assert "Another process is auditing" in said


def test_a_folder_that_is_not_empty_is_left_alone(audited, data, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    for words, message in (((), "is not empty"), (("--resume",), "holds no audit")):
        _, said = audited(data, *words, status=2)
        assert message in said
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    (tmp_path / "file").write_text("")
    _, said = audited(data, status=2, folder="file")
    assert "is a file" in said


def test_an_interrupted_audit_goes_on_where_it_was(audited, data, tmp_path, monkeypatch):
    words = (data, "--starts", "2", "--steps", "10")
    expected, _ = audited(*words, folder="at-once")

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(whole, "audit_distributions", interrupted)
        audited(*words, status=130)
    with monkeypatch.context() as patch:  # what is done is not done again
        patch.setattr(whole, "audit_labels", interrupted)
        patch.setattr("halocline.audit.stability.stage.run_start", interrupted)
        found, _ = audited(*words, "--resume")
    assert found == expected
    for path in (tmp_path / "at-once").glob("*.csv"):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_run_that_was_cut_off_goes_on_exactly(audited, data, tmp_path, monkeypatch):
    words = (data, "--starts", "2", "--steps", "20")
    expected, _ = audited(*words, folder="at-once")
    made, calls = run_module.run_dynamics, []

    def cut_off(*arguments, **options):
        """Interrupts the second run at its tenth step."""

        def interrupt(sample):
            if calls and sample.step == 10:
                raise KeyboardInterrupt

        made(*arguments, **options, on_step=interrupt)
        calls.append(1)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "run_dynamics", cut_off)
        audited(*words, status=130)
    assert len(calls) == 1
    found, _ = audited(*words, "--resume")
    assert found == expected
    for name in ("start-000.extxyz", "start-001.extxyz", "start-001.csv"):
        assert (tmp_path / "out" / "md" / name).read_bytes() == (tmp_path / "at-once" / "md" / name).read_bytes()


def test_an_audit_does_not_go_on_with_something_else(audited, data, tmp_path):
    audited(data)
    other = write(tmp_path / "other.extxyz", [crystal(9)])
    _, said = audited(other, "--resume", status=1)
    assert "holds an audit of something else: data was" in said
    _, said = audited(data, "--resume", "--reach", "5", status=1)
    assert "reach was 6.0, now 5.0" in said


def test_an_audit_does_not_go_on_with_other_versions(audited, data, monkeypatch):
    audited(data)
    known = whole.version
    monkeypatch.setattr(whole, "version", lambda name: "0.0" if name == "scipy" else known(name))
    _, said = audited(data, "--resume", status=1)
    assert f"the version of scipy was {known('scipy')}, now 0.0." in said


def test_a_committee_is_audited_by_its_mean_and_its_members(audited, data, tmp_path):
    potential = halocline.load(MODEL)
    potential.reference_energies["Ar"] += 0.25
    other = str(tmp_path / "other.safetensors")
    potential.save(other)
    found, _ = audited(data, "--member", other, "--starts", "1", "--steps", "10", "--temperature", "20")
    assert found["model"]["name"] == f"committee of {MODEL}, {other}"
    assert found["labels"]["errors"]["energy per atom"]["mae"] == pytest.approx(125.0)
    members = found["labels"]["committee"]["members"]
    assert members[MODEL]["energy per atom"]["mae"] == pytest.approx(0.0, abs=AGREEMENT)
    assert members[other]["energy per atom"]["mae"] == pytest.approx(250.0)
    spread = found["labels"]["committee"]["spread"]["energy per atom"]
    assert spread["spread"] == spread["rmse"] == pytest.approx(125.0)
    assert spread["scale"] == pytest.approx(1.0)
    assert found["stability"]["summary"]["survived"] == 1
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Errors of the members" in report
    assert "Spread of the members beside errors of the committee" in report
    _, said = audited(data, "--resume", status=1)
    assert "model was" in said
    alone, _ = audited(data, folder="alone")
    assert alone["labels"]["committee"] is None
    assert "Errors of the members" not in (tmp_path / "alone" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--member", MODEL), "is named twice"),
        (("--steps", "5"), "--steps is about dynamics"),
        (("--second", MODEL), "name some with --trajectory"),
        (("--starts", "0"), "needs a start and a step"),
        (("--reach", "-1"), "Distances can be counted"),
        (("--trajectory", "missing.extxyz"), "missing.extxyz cannot be read"),
        (("--head", "x"), "has no heads"),
    ],
)
def test_calls_that_mean_nothing_are_refused_before_anything_is_made(audited, data, tmp_path, words, message):
    status = 1 if "missing" in words[-1] else 2
    _, said = audited(data, *words, status=status)
    assert message in said
    assert not (tmp_path / "out").exists()


def test_tables_are_printed(data, tmp_path, capsys):
    assert main(["audit", MODEL, data, "-o", str(tmp_path / "out"), "--trajectory", data]) == 0
    printed = capsys.readouterr().out
    for words in ("Errors beside labels", "force angle", "Distances from the reference", "Ar–Ar"):
        assert words in printed
