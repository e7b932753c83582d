"""What a run tells of itself is what it keeps in its metrics, wherever it is told."""

import csv
import sys
from contextlib import contextmanager

import matplotlib.image
import pytest

import halocline
from halocline.cli.main import main
from halocline.errors import UsageError
from halocline.training.folder import CURVES_FILE, METRICS_FILE, PARITY_FILE
from halocline.training.recipe import read_recipe
from halocline.training.report.logs import TENSORBOARD_FOLDER, WANDB_FILE, logs

# TensorBoard keeps float32.
SINGLE = 1e-6


@pytest.fixture
def logging_recipe(folder, edit_recipe, monkeypatch):
    """Write the table ``[log]`` of the recipe, from which `train` starts."""
    monkeypatch.chdir(folder)

    def write(table):
        edit_recipe("[card]", f"[log]\n{table}\n[card]")
        return folder / "run"

    return write


def train(*options):
    return main(["train", "recipe.toml", "-o", "run", *options])


def metrics(run):
    """Name → values of the epochs, as the file has them."""
    with (run / METRICS_FILE).open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if rows[0][name]}


def test_figures_are_drawn_unless_they_are_not_wanted(logging_recipe, edit_recipe, capsys):
    run = logging_recipe("plots = false")
    assert train() == 0
    assert not (run / CURVES_FILE).exists()
    edit_recipe("plots = false", "plots = true")
    assert train("--resume") == 0  # what is told may change meanwhile
    for name in (CURVES_FILE, PARITY_FILE):
        assert matplotlib.image.imread(run / name).std() > 0.01, name
    assert PARITY_FILE in capsys.readouterr().err
    assert "log" not in halocline.load(run / "model.safetensors").card["recipe"]


def test_the_parity_plot_shows_the_errors_of_the_card(folder, monkeypatch):
    shown = []
    monkeypatch.setattr("halocline.evaluation.plot.plot_parity", lambda accuracy, *_, **__: shown.append(accuracy))
    monkeypatch.chdir(folder)
    assert train() == 0
    (accuracy,) = shown
    errors = halocline.load("run/model.safetensors").card["errors"]
    assert accuracy.frames == errors["test_frames"] == 4
    assert accuracy.quantities["forces"].mae == pytest.approx(errors["force_component_mae_meV_per_A"])
    assert accuracy.quantities["energy per atom"].mae == pytest.approx(errors["energy_mae_meV_per_atom"], rel=1e-9)


def test_without_test_frames_only_the_curves_are_drawn(folder, edit_recipe, monkeypatch):
    edit_recipe("test = 4", "test = 0")
    monkeypatch.chdir(folder)
    assert train() == 0
    assert (folder / "run" / CURVES_FILE).exists()
    assert not (folder / "run" / PARITY_FILE).exists()


def test_figures_of_something_else_are_not_replaced(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "run").mkdir()
    (folder / "run" / PARITY_FILE).write_bytes(b"mine")
    assert train() == 2
    assert "training would replace it" in capsys.readouterr().err
    assert (folder / "run" / PARITY_FILE).read_bytes() == b"mine"


def test_the_bar_advances_at_every_step(folder, monkeypatch):
    seen = {"total": None, "steps": 0}

    @contextmanager
    def progress(total, description, unit=""):
        def advance(steps=1):
            seen["steps"] += steps

        seen["total"] = total
        yield advance

    monkeypatch.setattr("halocline.cli.train_report.progress", progress)
    monkeypatch.chdir(folder)
    assert train() == 0
    assert seen == {"total": 4 * 3, "steps": 4 * 3}  # epochs of 8 frames, 3 at a time
    assert train("--resume") == 0
    assert seen == {"total": 0, "steps": 4 * 3}


@pytest.mark.parametrize(
    ("table", "module", "message"),
    [
        ("tensorboard = true", "torch.utils.tensorboard", r"pip install halocline\[log\]"),
        ('wandb = "argon"', "wandb", "pip install wandb"),
    ],
)
def test_a_package_that_is_not_there_is_named(logging_recipe, folder, monkeypatch, table, module, message):
    monkeypatch.setitem(sys.modules, module, None)
    logging_recipe(table)
    with pytest.raises(UsageError, match=message), logs(read_recipe(folder / "recipe.toml"), folder, 0):
        pass
    assert train() == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("tensorbord = true", "did you mean 'tensorboard'"),
        ("tensorboard = 1", "log.tensorboard must be true or false"),
        ('wandb = " "', "log.wandb must be the name of a project"),
        ("wandb = true", "log.wandb must be text"),
    ],
)
def test_nonsense_is_refused_by_key(logging_recipe, folder, table, message):
    logging_recipe(table)
    with pytest.raises(UsageError, match=message):
        read_recipe(folder / "recipe.toml")


def test_tensorboard_shows_the_metrics_once_however_often_a_run_was_resumed(logging_recipe, monkeypatch):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = logging_recipe("tensorboard = true")
    from halocline.training.report.logs import _TensorBoard

    told = []

    def interrupt(self, epoch, numbers, record=_TensorBoard.record):
        record(self, epoch, numbers)
        told.append(epoch)
        if len(told) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_TensorBoard, "record", interrupt)
        assert train() == 130
    assert train("--resume") == 0
    events = EventAccumulator(str(run / TENSORBOARD_FOLDER)).Reload()
    expected = metrics(run)
    assert set(events.Tags()["scalars"]) == set(expected) - {"epoch", "validation_frames"}
    for name in events.Tags()["scalars"]:
        points = events.Scalars(name)
        assert [point.step for point in points] == [1, 2, 3, 4]
        assert [point.value for point in points] == pytest.approx(expected[name], rel=SINGLE)


@pytest.mark.slow
def test_weights_and_biases_are_told_under_one_name(logging_recipe, monkeypatch):
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = logging_recipe('wandb = "argon"')
    assert train() == 0
    name = (run / WANDB_FILE).read_text()
    (kept,) = run.glob(f"wandb/offline-run-*-{name}/run-{name}.wandb")
    assert all(column.encode() in kept.read_bytes() for column in ("loss", "energy_mae", "forces_mae"))
    assert train("--resume") == 0
    assert (run / WANDB_FILE).read_text() == name
