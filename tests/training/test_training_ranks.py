"""Several ranks take the steps of one: shown with ranks that are threads, which meet where processes would."""

import ase.io
import numpy as np
import pytest
import torch
from thread_ranks import run_together

import halocline
from halocline.cli.main import main
from halocline.errors import TrainingError, UsageError
from halocline.place import Place
from halocline.training.deal import deal
from halocline.training.device import make_fabric
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.run import TrainingRun
from halocline.training.state import load_state

# Gradients summed in another order, in float64, over a dozen steps.
ROUNDING = 1e-10

# Fabric hands the value of the loss over in float32, whatever it was computed in.
SINGLE = 1e-6


def train(folder, output, ranks, *, resume=False, until=None):
    """Run the recipe; ``until`` interrupts the last rank once the first has reported so many epochs."""
    recipe = read_recipe(folder / "recipe.toml")
    problem = prepare(recipe, folder)  # here: initial weights are drawn from a generator that threads share
    reported = []

    def work(team):
        fabric = make_fabric("cpu", recipe.training.precision)
        run = TrainingRun(problem, folder / output, fabric, resume=resume, team=team)
        last = team.rank == ranks - 1
        run.train(reported.append, lambda: last and until is not None and len(reported) >= until)
        return run

    run_together(work, ranks)
    return load_state(folder / output / "state.safetensors")


def assert_equal_to_rounding(one, other):
    assert one.epoch == other.epoch
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(tensor, other.tensors[name], rtol=ROUNDING, atol=ROUNDING, msg=name)
    for left, right in zip(one.history, other.history, strict=True):
        assert left["loss"] == pytest.approx(right["loss"], rel=SINGLE)
        assert left["energy_mae"] == pytest.approx(right["energy_mae"], rel=ROUNDING)
        assert left["forces_mae"] == pytest.approx(right["forces_mae"], rel=ROUNDING)


@pytest.fixture
def uneven(folder, argon, edit_recipe):
    """Frames of different sizes, some without energy or forces; every third step has fewer frames than others."""
    frames = [atoms * (2, 1, 1) if i % 4 == 0 else atoms for i, atoms in enumerate(argon)]
    for i, atoms in enumerate(frames):
        rng = np.random.default_rng(i)
        atoms.calc = None
        if i % 5 != 1:
            atoms.info["energy"] = rng.normal()
        if i % 5 != 2:
            atoms.arrays["forces"] = rng.normal(size=(len(atoms), 3))
    ase.io.write(folder / "argon.extxyz", frames)
    edit_recipe("train = 8", "train = 7")  # the last step of an epoch has one frame for all ranks
    edit_recipe("warmup_steps = 3", 'warmup_steps = 3\nprecision = "float64"\nenergy_weight = 1.0')
    return folder


@pytest.mark.parametrize("batch", ["batch_size = 3", "batch_atoms = 12", "batch_edges = 150"])
def test_the_result_does_not_depend_on_the_number_of_ranks(uneven, edit_recipe, batch):
    edit_recipe("batch_size = 3", batch)
    one, two, three = (train(uneven, f"ranks{n}", n) for n in (1, 2, 3))
    assert_equal_to_rounding(one, two)
    assert_equal_to_rounding(one, three)
    assert (one.ranks, three.ranks) == (1, 3)


def test_replayed_frames_are_shared_as_others(uneven, edit_recipe):
    problem = prepare(read_recipe(uneven / "recipe.toml"), uneven)
    halocline.Potential(problem.backbone.eval(), {"Ar": 0.1}, {}).save(uneven / "parent.safetensors")
    frames = ase.io.read(uneven / "argon.extxyz", "4:9")
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    ase.io.write(uneven / "before.extxyz", frames)
    config = edit_recipe("features = 8\ngaussians = 8\nlayers = 1\ncutoff = 5.0\n", "")
    text = config.read_text().replace('backbone = "schnet"\n[model.config]\n', 'from = "parent.safetensors"\n')
    config.write_text(text.replace("[model]", '[data.replay]\nfiles = ["before.extxyz"]\nframes = 3\n[model]'))
    one, two = (train(uneven, f"ranks{n}", n) for n in (1, 2))
    assert_equal_to_rounding(one, two)


STEERING = """clip_by = "value"
gradient_clip = 0.5
forces_loss = "huber"
freeze = ["embed"]
[[training.reweighting]]
epoch = 2
energy_weight = 10.0
[training.schedule]
kind = "plateau"
patience = 0
metric = "forces_rmse"
[training.stopping]
metric = "validation_loss"
patience = 2
keep = "best"
"""


def test_what_steers_a_fit_is_the_same_on_all_ranks(uneven, edit_recipe):
    edit_recipe("epochs = 4", "epochs = 8")
    edit_recipe("energy_weight = 1.0", f"energy_weight = 1.0\n{STEERING}")
    one, two = (train(uneven, f"ranks{n}", n) for n in (1, 2))
    assert_equal_to_rounding(one, two)
    assert any(name.startswith("best.") for name in one.tensors)
    rates = [[record["learning_rate"] for record in each.history] for each in (one, two)]
    assert rates[0] == rates[1]
    assert len(set(rates[0][1:])) > 1  # a plateau was found


def test_another_number_of_ranks_may_go_on(uneven, caplog):
    straight = train(uneven, "straight", 1)
    with pytest.raises(KeyboardInterrupt):
        train(uneven, "changed", 2, until=2)
    assert load_state(uneven / "changed" / "state.safetensors").epoch == 2
    assert_equal_to_rounding(straight, train(uneven, "changed", 3, resume=True))
    assert caplog.text.count("not bit by bit") == 1  # the first rank speaks for all


@pytest.mark.parametrize("ranks", [2, 3])
def test_as_many_ranks_go_on_bit_by_bit(uneven, ranks):
    straight = train(uneven, "straight", ranks)
    with pytest.raises(KeyboardInterrupt):
        train(uneven, "broken", ranks, until=3)
    resumed = train(uneven, "broken", ranks, resume=True)
    for name, tensor in straight.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name


def test_ranks_that_see_other_data_are_refused(folder, argon):
    other = folder / "other"
    other.mkdir()
    argon[0].calc.results["energy"] += 1e-6
    ase.io.write(other / "argon.extxyz", argon)
    recipe = read_recipe(folder / "recipe.toml")
    problems = [prepare(recipe, folder), prepare(recipe, other)]

    def work(team):
        return TrainingRun(
            problems[team.rank], folder / "run", make_fabric("cpu", "float32"), resume=False, team=team
        )

    with pytest.raises(TrainingError, match="Rank 1 differs from rank 0 in data"):
        run_together(work, 2)


def test_ranks_without_work_are_refused(folder, monkeypatch, capsys):
    with pytest.raises(UsageError, match=r"training.batch_size = 3 .* 4 ranks"):
        train(folder, "run", 4)
    monkeypatch.chdir(folder)
    assert main(["train", "recipe.toml", "--ranks", "4"]) == 2
    assert "use fewer ranks" in capsys.readouterr().err


def test_crowds_of_ranks_are_refused(folder, edit_recipe, monkeypatch, capsys):
    edit_recipe("batch_size = 3", "batch_size = 3000")
    monkeypatch.chdir(folder)
    words = ["train", "recipe.toml", "--device", "cpu", "--ranks", "2000"]
    assert main(words) == 2
    assert "2000 ranks are more than 4 for each" in capsys.readouterr().err
    monkeypatch.setattr("halocline.cli.ranks.run_ranks", lambda words, ranks, seconds: ranks)
    assert main([*words, "--oversubscribe"]) == 2000


@pytest.mark.parametrize("ranks", [1, 2, 3, 10])
def test_work_is_dealt_evenly(ranks):
    costs = [5, 1, 1, 1, 4, 2, 0]
    shares = deal(costs, ranks)
    assert sorted(piece for share in shares for piece in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in shares)
    assert max(sum(costs[i] for i in share) for share in shares) == {1: 14, 2: 7, 3: 5, 10: 5}[ranks]


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}


def test_the_place_is_that_of_torchrun():
    assert Place.find({"PATH": "/bin"}) is None
    restarted = TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "2"}
    assert Place.find(restarted) == Place(rank=3, size=4, local_rank=1, local_size=4, restarts=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "4"}, "RANK 4 .* WORLD_SIZE 4"),
        ({"RANK": "first"}, "no number: .*first"),
        ({"MASTER_ADDR": None, "LOCAL_RANK": None}, "LOCAL_RANK, MASTER_ADDR is not"),
    ],
)
def test_an_impossible_place_is_refused(change, message):
    environment = {name: value for name, value in (TORCHRUN | change).items() if value is not None}
    with pytest.raises(UsageError, match=message):
        Place.find(environment)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--ranks", "0"], "--ranks must be at least 1"), (["--timeout", "nan"], "--timeout must be a positive")],
)
def test_impossible_options_are_refused(folder, capsys, options, message):
    assert main(["train", str(folder / "recipe.toml"), *options]) == 2
    assert message in capsys.readouterr().err


def test_ranks_are_not_started_twice(folder, monkeypatch, capsys):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert main(["train", str(folder / "recipe.toml"), "--ranks", "2"]) == 2
    assert "torchrun has started 4 already" in capsys.readouterr().err


def test_several_ranks_need_a_device_each(monkeypatch):
    place = Place(rank=1, size=2, local_rank=1, local_size=2)
    with pytest.raises(UsageError, match="cannot share the device 'cuda:0'"):
        make_fabric("cuda:0", "float32", place)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="'cuda:1' is needed for a rank, but torch sees 1"):
        make_fabric("cuda", "float32", place)
