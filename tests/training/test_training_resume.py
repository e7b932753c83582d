"""A run that was killed and resumed ends, bit by bit, with the weights of the run that was not."""

import os
import signal
import subprocess
import sys

import ase.io
import pytest
import torch

from halocline.errors import TrainingError, UsageError
from halocline.files import previous_path
from halocline.training.device import make_fabric
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.run import TrainingRun
from halocline.training.state import load_state


def train(folder, output, *, resume=False, stop_after=None):
    """Run the recipe in this process; ``stop_after`` interrupts it when so many epochs are reported."""
    recipe = read_recipe(folder / "recipe.toml")
    problem = prepare(recipe, folder)
    run = TrainingRun(problem, folder / output, make_fabric("cpu", recipe.training.precision), resume=resume)

    def report(record):
        if record.epoch == stop_after:
            raise KeyboardInterrupt

    if stop_after is None:
        run.train(report)
    else:
        with pytest.raises(KeyboardInterrupt):
            run.train(report)
    return run


def assert_same_weights(one, other):
    """Weights, averages and moments agree in every bit, and so do the recorded losses."""
    left, right = load_state(one), load_state(other)
    assert left.tensors.keys() == right.tensors.keys()
    for name, tensor in left.tensors.items():
        assert torch.equal(tensor, right.tensors[name]), name
    assert [record["loss"] for record in left.history] == [record["loss"] for record in right.history]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_interrupted_and_resumed_equals_straight(folder, edit_recipe, epoch, precision):
    edit_recipe("warmup_steps = 3", f'warmup_steps = 3\nprecision = "{precision}"')
    straight = train(folder, "straight")
    train(folder, "broken", stop_after=epoch)
    resumed = train(folder, "broken", resume=True)
    assert_same_weights(straight.state_file, resumed.state_file)
    assert len(resumed.history) == 4


@pytest.mark.parametrize("batch", ["batch_atoms = 9", "batch_edges = 150"])
def test_a_resumed_run_has_the_steps_of_a_straight_one(folder, edit_recipe, batch):
    edit_recipe("batch_size = 3", batch)
    straight = train(folder, "straight")
    train(folder, "broken", stop_after=2)
    assert_same_weights(straight.state_file, train(folder, "broken", resume=True).state_file)


def test_the_state_before_the_last_is_as_good(folder):
    """A crash between the two renames leaves only the previous state."""
    straight = train(folder, "straight")
    broken = train(folder, "broken", stop_after=3)
    broken.state_file.unlink()
    assert load_state(broken.state_file).epoch == 2
    assert_same_weights(straight.state_file, train(folder, "broken", resume=True).state_file)


def test_training_changes_the_weights_and_follows_the_seed(folder, edit_recipe):
    first = load_state(train(folder, "first").state_file)
    assert not torch.equal(first.tensors["model.readout.out.weight"], first.tensors["average.readout.out.weight"])
    edit_recipe("warmup_steps = 3", "warmup_steps = 3\nseed = 1")
    second = load_state(train(folder, "second").state_file)
    assert not torch.equal(first.tensors["model.readout.out.weight"], second.tensors["model.readout.out.weight"])


def test_training_leaves_the_random_state_alone(folder):
    before = torch.get_rng_state()
    train(folder, "run")
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32


def test_a_run_is_not_overwritten(folder):
    train(folder, "run", stop_after=1)
    with pytest.raises(UsageError, match="continue it with --resume"):
        train(folder, "run")


def test_there_must_be_a_run_to_resume(folder):
    with pytest.raises(TrainingError, match="leave out --resume"):
        train(folder, "run", resume=True)


def test_another_recipe_is_refused_by_key(folder, edit_recipe):
    train(folder, "run", stop_after=1)
    edit_recipe("epochs = 4", "epochs = 5")
    with pytest.raises(UsageError, match=r"training\.epochs was 4, now it is 5"):
        train(folder, "run", resume=True)


def test_the_card_may_be_improved(folder, edit_recipe):
    train(folder, "run", stop_after=1)
    edit_recipe('name = "argon"', 'name = "solid-argon"')
    assert len(train(folder, "run", resume=True).history) == 4


def test_other_data_are_refused(folder, argon):
    train(folder, "run", stop_after=1)
    argon[0].calc.results["energy"] += 1e-3
    ase.io.write(folder / "argon.extxyz", argon)
    with pytest.raises(TrainingError, match="other structures or labels"):
        train(folder, "run", resume=True)


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.99])
def test_a_flipped_bit_is_an_error(folder, place):
    path = train(folder, "run", stop_after=2).state_file
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(TrainingError, match=f"damaged.*{previous_path(path).name}"):
        load_state(path)


def test_a_truncated_state_is_an_error(folder):
    path = train(folder, "run", stop_after=1).state_file
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TrainingError, match="damaged"):
        load_state(path)


def test_other_numbers_of_threads_are_told(folder, caplog):
    run = train(folder, "run", stop_after=1)
    assert load_state(run.state_file).threads == torch.get_num_threads()
    torch.set_num_threads(torch.get_num_threads() + 1)  # the fixture puts it back
    train(folder, "run", resume=True)
    assert "not bit by bit" in caplog.text


def start(folder, output, *options):
    """The command as a process of its own."""
    program = "import sys; from halocline.cli.main import main; sys.exit(main())"
    words = ["train", "recipe.toml", "-o", output, "--threads", "1", *options]
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_for_epoch(process, epoch):
    for line in process.stderr:
        if line.startswith(f"epoch {epoch}/"):
            return
    pytest.fail(f"the process ended with status {process.wait()} before epoch {epoch}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [("SIGKILL", -9), pytest.param("SIGTERM", 143, marks=pytest.mark.exhaustive), ("SIGINT", 130)],
)
def test_a_killed_process_resumes_bit_by_bit(folder, edit_recipe, number, status):
    edit_recipe("epochs = 4", "epochs = 30")
    straight = train(folder, "straight")
    process = start(folder, "killed")
    wait_for_epoch(process, 3)
    process.send_signal(getattr(signal, number))
    said = process.communicate()[1]
    assert process.returncode == status
    assert status < 0 or "Continue with --resume" in said
    done = load_state(folder / "killed" / "state.safetensors").epoch
    assert 3 <= done < 30
    process = start(folder, "killed", "--resume")
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert f"Resuming after epoch {done}." in said
    assert_same_weights(straight.state_file, folder / "killed" / "state.safetensors")
    assert {entry.name for entry in os.scandir(folder / "killed")} == {
        ".training.lock",
        "learning_curves.png",
        "metrics.csv",
        "model.safetensors",
        "parity.png",
        "state.safetensors",
        "state_prev.safetensors",
    }
