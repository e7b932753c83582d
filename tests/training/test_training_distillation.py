"""A student learns from its teacher: where there are labels and where there are none, and from nothing else."""

import copy

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from thread_ranks import run_together

import halocline
from halocline.cli.main import main
from halocline.errors import HaloclineError, TrainingError, UsageError
from halocline.training.device import make_fabric
from halocline.training.distillation import lessons
from halocline.training.distillation.lessons import LESSONS_FILE
from halocline.training.distillation.scale import on_the_scale_of_labels
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.result import finish
from halocline.training.run import TrainingRun

TEACHER = "lennard-jones-argon"

# Sums in another order, in float64.
ROUNDING = 1e-10

# Fabric hands the value of the loss over in float32.
SINGLE = 1e-6


@pytest.fixture
def unlabelled():
    """Structures like those with labels, and none of them."""
    frames = []
    for seed in range(100, 106):
        atoms = bulk("Ar", "fcc", 5.2 + 0.05 * (seed % 3), cubic=True)
        atoms.rattle(0.2, seed=seed)
        frames.append(atoms)
    return frames


@pytest.fixture
def taught(folder, unlabelled, edit_recipe):
    """Write the table ``[distillation]``, with structures that have no labels."""
    ase.io.write(folder / "more.extxyz", unlabelled)
    edit_recipe('files = ["argon.extxyz"]', 'files = ["argon.extxyz"]\nunlabelled_files = ["more.extxyz"]')

    def write(table=f'teacher = "{TEACHER}"'):
        return edit_recipe("[card]", f"[distillation]\n{table}\n[card]")

    return write


def begin(path, output="run", *, resume=False, team=None):
    recipe = read_recipe(path)
    fabric = make_fabric("cpu", recipe.training.precision)
    return TrainingRun(prepare(recipe, path.parent), path.parent / output, fabric, resume=resume, team=team)


def train(path, output="run", **options):
    run = begin(path, output, **options)
    run.train(lambda record: None)
    return run


def without_labels(frames):
    bare = copy.deepcopy(frames)
    for atoms in bare:
        atoms.calc = None
    return bare


def deviation(one, other, structures):
    """Mean absolute difference of force components, eV/Å."""
    pairs = [(one(atoms, device="cpu").forces, other(atoms, device="cpu").forces) for atoms in structures]
    return float(np.mean([np.abs(a - b).mean() for a, b in pairs]))


@pytest.mark.slow
def test_a_student_without_labels_approaches_its_teacher(folder, argon, unlabelled, edit_recipe):
    """On structures that neither has seen, forces end within a third of the mean force component."""
    ase.io.write(folder / "argon.extxyz", without_labels(argon[:10]))
    split = "[data.split]\nseed = 1\ntrain = 8\nvalidation = 2\ntest = 4\n"
    edit_recipe(split, "")
    edit_recipe('files = ["argon.extxyz"]', 'train_files = ["argon.extxyz"]')
    edit_recipe("features = 8\ngaussians = 8", "features = 16\ngaussians = 16")
    edit_recipe("batch_size = 3", "batch_size = 1")
    edit_recipe("warmup_steps = 3", "energy_weight = 0.0\nforces_weight = 0.0")
    edit_recipe("[card]", f'[distillation]\nteacher = "{TEACHER}"\nenergy_weight = 1.0\n[card]')
    run = train(edit_recipe("epochs = 4", "epochs = 30"))
    student, errors = finish(run, "cpu")
    teacher = halocline.load(TEACHER)
    forces = float(np.mean([np.abs(teacher(atoms, device="cpu").forces).mean() for atoms in unlabelled]))
    assert deviation(student, teacher, unlabelled) < forces / 3.0
    assert run.history[-1].loss < run.history[0].loss / 10.0
    assert errors is None  # there is nothing to be right or wrong about
    assert student.reference_energies == teacher.reference_energies


@pytest.fixture
def parent(folder, edit_recipe, monkeypatch):
    """A model that the recipe starts from."""
    monkeypatch.chdir(folder)
    assert main(["train", "recipe.toml", "-o", "parent"]) == 0
    edit_recipe("[model.config]\nfeatures = 8\ngaussians = 8\nlayers = 1\ncutoff = 5.0\n", "")
    edit_recipe('backbone = "schnet"', 'from = "parent/model.safetensors"')
    edit_recipe("warmup_steps = 3", 'warmup_steps = 3\nprecision = "float64"')
    return halocline.load("parent/model.safetensors")


@pytest.mark.parametrize(
    ("align", "references"),
    [("true", "shift"), ("false", "keep")],  # both on the scale of the labels, or both on that of the parent
)
def test_who_is_its_own_teacher_has_nothing_to_learn(parent, taught, edit_recipe, align, references):
    edit_recipe('precision = "float64"', 'precision = "float64"\nenergy_weight = 0.0\nforces_weight = 0.0')
    edit_recipe("epochs = 4", "epochs = 1")
    edit_recipe("batch_size = 3", "batch_size = 100")  # one step, before any weight has moved
    edit_recipe("[card]", f'[references]\nkind = "{references}"\n[card]')
    run = train(taught(f"align = {align}"))
    assert run.problem.teacher.potential is run.problem.parent
    assert run.history[0].loss < ROUNDING


def test_labels_and_teacher_add_up(parent, taught, folder, edit_recipe):
    """The loss of the first step is that of the labels, and that of the teacher, each with its weight."""
    edit_recipe("epochs = 4", "epochs = 1")
    edit_recipe("batch_size = 3", "batch_size = 100")  # one step, before any weight has moved
    text = taught("on = 'all'").read_text()
    both = train(folder / "recipe.toml", "both").history[0].loss
    labels_alone = text.replace("[distillation]\non = 'all'", "").replace('unlabelled_files = ["more.extxyz"]', "")
    (folder / "labels.toml").write_text(labels_alone)
    teacher_alone = text.replace('"float64"', '"float64"\nenergy_weight = 0.0\nforces_weight = 0.0')
    (folder / "teacher.toml").write_text(teacher_alone)
    parts = [train(folder / f"{name}.toml", name).history[0].loss for name in ("labels", "teacher")]
    assert both == pytest.approx(sum(parts), rel=SINGLE)


def test_what_unlabelled_files_hold_as_labels_is_not_read(taught, folder, unlabelled):
    path = taught()
    first = train(path, "first")
    for atoms in unlabelled:
        atoms.info["REF_energy"] = float("nan")
        atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 1e9)
    ase.io.write(folder / "more.extxyz", unlabelled)
    second = train(path, "second")
    for name, tensor in first.trainer.tensors().items():
        assert torch.equal(tensor, second.trainer.tensors()[name]), name
    assert first.history[-1].forces_mae == second.history[-1].forces_mae


def test_errors_are_those_of_labels(taught, folder, argon):
    run = train(taught())
    potential, errors = finish(run, "cpu")
    frames = run.problem.split.test
    forces = [potential(argon[i], device="cpu").forces - argon[i].get_forces() for i in frames]
    assert errors.forces_mae == pytest.approx(1e3 * np.abs(forces).mean(), rel=1e-5)
    assert errors.frames == len(frames) == 4
    recipe = potential.card["recipe"]
    assert recipe["frames"]["unlabelled"] == list(range(14, 20))
    assert recipe["teacher"]["sha256"] == halocline.load(TEACHER).digest()


@pytest.mark.parametrize("on", ["all", "unlabelled"])
def test_the_result_does_not_depend_on_the_number_of_ranks(taught, folder, edit_recipe, on):
    edit_recipe("warmup_steps = 3", 'warmup_steps = 3\nprecision = "float64"')
    path = taught(f'teacher = "{TEACHER}"\non = "{on}"')
    recipe = read_recipe(path)
    problem = prepare(recipe, folder)

    def work(ranks):
        def run_rank(team):
            fabric = make_fabric("cpu", recipe.training.precision)
            run = TrainingRun(problem, folder / f"ranks{ranks}", fabric, resume=False, team=team)
            run.train(lambda record: None)
            return run

        return run_together(run_rank, ranks)

    (one,), (two, other) = work(1), work(2)
    for name, tensor in one.trainer.tensors().items():
        torch.testing.assert_close(two.trainer.tensors()[name], tensor, rtol=ROUNDING, atol=ROUNDING, msg=name)
        assert torch.equal(two.trainer.tensors()[name], other.trainer.tensors()[name]), name
    losses = [[record.loss for record in run.history] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=SINGLE)


def test_a_resumed_run_asks_its_teacher_no_more(taught, monkeypatch):
    path = taught()
    straight, broken = begin(path, "straight"), begin(path, "broken")
    straight.train(lambda record: None)

    def stop(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.train(stop)
    monkeypatch.setattr(lessons, "_evaluate", lambda *_: pytest.fail("the teacher was asked again"))
    resumed = train(path, "broken", resume=True)
    for name, tensor in straight.trainer.tensors().items():
        assert torch.equal(tensor, resumed.trainer.tensors()[name]), name


def test_another_teacher_is_refused(taught, folder):
    path = taught('teacher = "teacher.safetensors"')
    halocline.load(TEACHER).save(folder / "teacher.safetensors")
    train(path)
    teacher = halocline.load(TEACHER)
    teacher.reference_energies["Ar"] = 1.0
    teacher.save(folder / "teacher.safetensors")
    with pytest.raises(TrainingError, match="started with another teacher"):
        begin(path, resume=True)


def test_what_is_kept_of_a_teacher_is_not_taken_for_another_file(taught, folder):
    path = taught()
    (folder / "run").mkdir()
    halocline.load(TEACHER).save(folder / "run" / LESSONS_FILE)
    before = (folder / "run" / LESSONS_FILE).read_bytes()
    with pytest.raises(TrainingError, match="does not hold what a teacher has said"):
        begin(path)
    assert (folder / "run" / LESSONS_FILE).read_bytes() == before


def test_energies_come_to_the_scale_of_labels():
    """Whatever constants two levels of theory have, energies agree where the rest of them does."""
    rng = np.random.default_rng(0)
    constants = {1: -13.6, 8: -2041.3, 14: 77.0}
    structures = {i: rng.choice(list(constants), size=rng.integers(3, 9)) for i in range(12)}
    energies = {i: float(rng.normal()) for i in structures}
    labels = {i: energies[i] + sum(constants[z] for z in structures[i].tolist()) for i in structures if i < 8}
    aligned = on_the_scale_of_labels(["H", "O", "Si"], structures, energies, labels)
    assert aligned.keys() == structures.keys()
    for i, energy in aligned.items():
        expected = energies[i] + sum(constants[z] for z in structures[i].tolist())
        assert energy == pytest.approx(expected, abs=1e-8)
    assert on_the_scale_of_labels(["H", "O", "Si"], structures, energies, {}) == energies


def test_an_energy_that_labels_leave_open_is_left_out():
    water, peroxide, two_waters = (np.array(numbers) for numbers in ([8, 1, 1], [8, 8, 1, 1], [8, 1, 1, 8, 1, 1]))
    structures = {0: water, 1: peroxide, 2: two_waters}
    aligned = on_the_scale_of_labels(["H", "O"], structures, dict.fromkeys(structures, -1.0), {0: -11.0})
    assert aligned.keys() == {0, 2}
    assert aligned[2] == pytest.approx(-21.0)


def test_structures_of_the_test_are_not_taught(taught, folder, unlabelled, argon):
    path = taught()
    in_test = begin(path).problem.split.test[0]
    ase.io.write(folder / "more.extxyz", [*unlabelled, *without_labels([argon[in_test]])])
    with pytest.raises(TrainingError, match=r"serves two purposes: .*\(test\).*\(unlabelled\)"):
        begin(path, "other")


def test_what_the_teacher_does_not_know_is_named(taught, folder, unlabelled):
    path = taught()
    ase.io.write(folder / "more.extxyz", [*unlabelled, Atoms("NeAr", [(0, 0, 0), (0, 0, 3)])])
    with pytest.raises(TrainingError, match=r"frame 6 of more.extxyz .* contains Ne, which the teacher"):
        begin(path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "Nobody teaches: name a model in distillation.teacher"),
        ('teacher = "lennard-jones-argn"', "distillation.teacher: .* did you mean 'lennard-jones-argon'"),
        ('teacher = ""', "distillation.teacher must be the name of a model"),
        ("energy_weight = -1.0", "distillation.energy_weight must be at least 0"),
        ("energy_weight = 0.0\nforces_weight = 0.0", "distillation.energy_weight must be positive, if"),
        ('head = "pbe"', "distillation.head is of a teacher that"),
        (f'teacher = "{TEACHER}"\nhead = "pbe"', "distillation.head: There is no head named 'pbe'"),
        ('on = "some"', "distillation.on must be 'all' or 'unlabelled'"),
        ("forces_wait = 1.0", "did you mean 'forces_weight'"),
    ],
)
def test_nonsense_is_refused_by_key(taught, table, message):
    path = taught(table)
    with pytest.raises(HaloclineError, match=message):
        begin(path)


def test_unlabelled_files_need_a_teacher_and_the_other_way_round(taught, folder, edit_recipe):
    path = folder / "recipe.toml"
    with pytest.raises(UsageError, match=r"data.unlabelled_files serve a teacher only"):
        read_recipe(path)
    taught('on = "unlabelled"')
    read_recipe(path)
    edit_recipe('unlabelled_files = ["more.extxyz"]', "")
    with pytest.raises(UsageError, match=r"there are no data.unlabelled_files"):
        read_recipe(path)


def test_without_a_teacher_something_must_weigh(edit_recipe):
    path = edit_recipe("warmup_steps = 3", "energy_weight = 0.0\nforces_weight = 0.0")
    with pytest.raises(UsageError, match=r"training.energy_weight must be positive"):
        read_recipe(path)
