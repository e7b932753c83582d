"""The loop chooses what its definitions say, goes on after any end with the same bits, and waits for labels."""

import csv
import json
import shutil
import signal
import subprocess
import sys

import ase.io
import numpy as np
import pytest
from rattled_argon import frames, label, selection

import halocline
from halocline.active.score import score
from halocline.active.wanted import LABELLED_FILE, WANTED_FILE
from halocline.checkpoint import load_checkpoint
from halocline.cli.main import main
from halocline.errors import TrainingError, UsageError

ITERATIONS = ("iteration_00", "iteration_01", "end")


def indices(folder, name):
    (path,) = (folder / name).glob("split_*.npz")
    with np.load(path) as arrays:
        return {key: arrays[key].tolist() for key in arrays.files}


def test_sets_grow_by_the_worst_frames(run, folder, labelled):
    outcome = run()
    loop = folder / "loop"
    known = indices(loop, "iteration_00")
    for number, name in enumerate(ITERATIONS):
        split, decided = indices(loop, name), selection(loop, name)
        assert len(split["train_idx"]) == decided["train"] == outcome.selections[name].train
        assert not set(split["train_idx"]) & {*split["val_idx"], *split["test_idx"], *split["reserve_idx"]}
        sets = ("train_idx", "val_idx", "test_idx", "reserve_idx")
        assert sorted(frame for part in sets for frame in split[part]) == list(range(26))
        assert (split["val_idx"], split["test_idx"]) == (known["val_idx"], known["test_idx"])
        assert set(split["examine_idx"]) <= set(split["reserve_idx"])
        assert len(split["examine_idx"]) == decided["examined"] == (0 if name == "end" else 8)
        model = halocline.load(loop / name / "member_0" / "model.safetensors")

        def scores(numbers, model=model):
            results = model([labelled[i] for i in numbers], dtype="float32", device="cpu")
            return {
                i: score(
                    result.energy - labelled[i].get_potential_energy(),
                    result.forces - labelled[i].get_forces(),
                    energy_weight=0.2,
                )
                for i, result in zip(numbers, results, strict=True)
            }

        if name != "end":
            found = scores(split["examine_idx"])
            assert 0 < len(decided["chosen"]) <= 4
            worst = sorted(found, key=found.get, reverse=True)
            assert decided["chosen"] == worst[: len(decided["chosen"])]
            if len(decided["chosen"]) < 4:
                assert found[worst[len(decided["chosen"])]] < decided["cutoff"]
            assert min(found[i] for i in decided["chosen"]) >= decided["cutoff"]
            after = indices(loop, ITERATIONS[number + 1])
            assert sorted(after["train_idx"]) == sorted([*split["train_idx"], *decided["chosen"]])
        assert decided["errors"] == pytest.approx(np.mean(list(scores(split["val_idx"]).values())), rel=1e-6)
        found = model([labelled[i] for i in split["test_idx"]], dtype="float32", device="cpu")
        gaps = [
            result.forces - labelled[i].get_forces() for i, result in zip(split["test_idx"], found, strict=True)
        ]
        assert decided["test_forces"] == pytest.approx(1000.0 * np.abs(gaps).mean(), rel=1e-6)
    errors = {name: each.errors for name, each in outcome.selections.items()}
    assert outcome.best == min(errors, key=errors.get)
    (kept,) = outcome.models
    assert kept.read_bytes() == (loop / outcome.best / "member_0" / "model.safetensors").read_bytes()
    with (loop / "iterations.csv").open(newline="") as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == list(ITERATIONS)
    with (loop / "iteration_00" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows if row["added"] == "1"] == selection(loop, "iteration_00")["chosen"]


def test_each_iteration_goes_on_from_the_weights_of_the_one_before(run, folder):
    run()
    before = references = None
    for name, epochs in zip(ITERATIONS, (3, 2, 2), strict=True):
        path = folder / "loop" / name / "member_0" / "model.safetensors"
        card = load_checkpoint(path).card
        assert card["recipe"]["training"]["epochs"] == epochs
        assert card.get("parent", {}).get("sha256") == before
        model = halocline.load(path)
        before, references = model.digest(), references or model.reference_energies
        assert model.reference_energies == references


def contents(loop):
    """All that must be the same in two loops; metrics have times, and states folders of the machine."""
    kept = {".json", ".npz", ".csv", ".extxyz"}
    files = {
        str(path.relative_to(loop)): path.read_bytes()
        for path in loop.rglob("*")
        if path.suffix in kept and path.name != "metrics.csv"
    }
    weights = {
        str(path.relative_to(loop)): halocline.load(path).digest() for path in loop.rglob("model*.safetensors")
    }
    return files | weights


def test_interrupted_at_any_epoch_equals_straight(run, folder):
    run()
    straight = contents(folder / "loop")
    epochs = 3 + 2 + 2
    for last in range(1, epochs + 1):
        shutil.rmtree(folder / "loop")
        left = last

        def stop(record):
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(epoch=stop)
        run(resume=True)
        assert contents(folder / "loop") == straight, last


def test_a_kill_between_any_two_files_equals_straight(run, folder):
    """As if the process had ended just before it wrote a file, and all that came later."""
    run()
    loop = folder / "loop"
    straight = contents(loop)
    written = sorted(
        (
            path
            for path in loop.rglob("*")
            if path.is_file() and path.suffix in (".json", ".npz", ".csv", ".safetensors")
        ),
        key=lambda path: path.stat().st_mtime_ns,
    )
    places = [place for place, path in enumerate(written) if path.name != "active.json"][::4]
    whole = folder / "whole"
    shutil.copytree(loop, whole)
    for place in places:
        shutil.rmtree(loop)
        shutil.copytree(whole, loop)
        for path in written[place:]:
            if path.name != "active.json":
                path.unlink()
        run(resume=True)
        assert contents(loop) == straight, written[place]


#: Runs the loop and kills itself: after so many epochs, or once so many iterations are decided.
SUICIDE = """
import functools, os, pathlib, signal, sys, torch
from halocline.active.fit import complete
from halocline.active.recipe import read_active_recipe
from halocline.active.run import Hooks, learn

left = {"epoch": int(sys.argv[1]), "decision": int(sys.argv[2])}

def count(what):
    left[what] -= 1
    if not left[what]:
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
completed = functools.partial(complete, report=lambda record: count("epoch"))
hooks = Hooks(completed=completed, decided=lambda *_: count("decision"))
here, loop = pathlib.Path(), pathlib.Path("loop")
resume = (loop / "active.json").exists()
learn(read_active_recipe(here / "recipe.toml"), here, loop, device="cpu", resume=resume, hooks=hooks)
"""


@pytest.mark.slow
def test_sigkilled_processes_resume_exactly(run, folder):
    run()
    straight = contents(folder / "loop")
    shutil.rmtree(folder / "loop")
    for moment in (("2", "9"), ("9", "1"), ("3", "9")):
        died = subprocess.run([sys.executable, "-c", SUICIDE, *moment], cwd=folder, check=False)
        assert died.returncode == -signal.SIGKILL
    run(resume=True)
    assert contents(folder / "loop") == straight


def test_a_loop_that_is_done_tells_the_same_again(run, folder):
    outcome = run()
    before = contents(folder / "loop")
    assert run(resume=True) == outcome
    assert contents(folder / "loop") == before


def test_a_committee_chooses_by_its_spread(run, folder, edit, labelled):
    edit("iterations = 2", 'iterations = 1\nmembers = 2\ncriterion = "spread"')
    outcome = run()
    loop = folder / "loop"
    split, decided = indices(loop, "iteration_00"), selection(loop, "iteration_00")
    members = [halocline.load(loop / "iteration_00" / f"member_{i}" / "model.safetensors") for i in range(2)]
    assert members[0].digest() != members[1].digest()
    spreads = {}
    for i in split["examine_idx"]:
        one, other = (member(labelled[i], dtype="float32", device="cpu") for member in members)
        forces = np.abs(one.forces - other.forces) / 2
        spreads[i] = score((one.energy - other.energy) / 2, forces, energy_weight=0.2)
    worst = sorted(spreads, key=spreads.get, reverse=True)
    assert decided["chosen"] == worst[: len(decided["chosen"])] != []
    assert [path.name for path in outcome.models] == ["model_0.safetensors", "model_1.safetensors"]


@pytest.fixture
def unlabelled(folder, labelled, edit):
    """The same problem, with a pool that nobody has labelled."""
    ase.io.write(folder / "train.extxyz", labelled[:6])
    ase.io.write(folder / "validation.extxyz", labelled[6:10])
    ase.io.write(folder / "pool.extxyz", frames(26)[10:])
    text = (folder / "recipe.toml").read_text()
    head, tail = text[: text.index("[data]")], text[text.index("[model]") :]
    data = '[data]\ntrain_files = ["train.extxyz"]\nvalidation_files = ["validation.extxyz"]\n\n'
    (folder / "recipe.toml").write_text(head + data + tail)
    edit("[active]", '[active]\npool_files = ["pool.extxyz"]\nlabelled = false\nmembers = 2\ncriterion = "spread"')
    return folder


def test_a_loop_waits_for_labels_and_goes_on(run, unlabelled):
    loop = unlabelled / "loop"
    outcome = run()
    for name in ITERATIONS[:2]:
        assert outcome.waiting == loop / name / LABELLED_FILE
        wanted = ase.io.read(loop / name / WANTED_FILE, ":")
        decided = selection(loop, name)
        assert len(wanted) == len(decided["chosen"])
        assert all(atoms.calc is None for atoms in wanted)
        pool = frames(26)[10:]
        for frame, atoms in zip(decided["chosen"], wanted, strict=True):
            np.testing.assert_allclose(atoms.positions, pool[frame - 10].positions, atol=1e-7)
        assert run(resume=True) == outcome  # as long as nobody has labelled them
        answers = [label(atoms) for atoms in wanted]
        ase.io.write(loop / name / LABELLED_FILE, answers[1:])  # one could not be computed
        trained = decided["train"]
        outcome = run(resume=True)
        later = outcome.selections[ITERATIONS[ITERATIONS.index(name) + 1]]
        assert later.train == trained + len(answers) - 1
    assert outcome.waiting is None
    assert len(outcome.models) == 2
    chosen = [selection(loop, name)["chosen"] for name in ITERATIONS[:2]]
    assert not set(chosen[0]) & set(chosen[1])


def test_an_answer_that_changes_once_it_is_fitted_is_noticed(run, unlabelled):
    loop = unlabelled / "loop"
    run()
    wanted = ase.io.read(loop / "iteration_00" / WANTED_FILE, ":")
    path = loop / "iteration_00" / LABELLED_FILE
    ase.io.write(path, [label(atoms) for atoms in wanted])

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # within the first fit to it, which takes care of itself
        run(resume=True, epoch=stop)
    run(resume=True)
    answer = path.read_bytes()
    other = [label(atoms) for atoms in wanted]
    other[0].calc.results["energy"] += 1e-3
    ase.io.write(path, other)
    with pytest.raises(TrainingError, match=r"iteration_00/labelled\.extxyz has changed since iteration_01 was"):
        run(resume=True)
    (loop / "iteration_01" / "selection.json").unlink()
    (loop / "iteration_01" / "member_1" / "model.safetensors").unlink()
    with pytest.raises(
        TrainingError, match="has changed since iteration_01"
    ):  # one member is fitted to the old one
        run(resume=True)
    shutil.rmtree(loop / "iteration_01")
    assert run(resume=True).waiting == loop / "iteration_01" / LABELLED_FILE
    path.write_bytes(answer)
    with pytest.raises(TrainingError, match="has changed since iteration_01"):
        run(resume=True)


def test_other_frames_than_those_asked_for_are_refused(run, unlabelled):
    loop = unlabelled / "loop"
    run()
    wanted = ase.io.read(loop / "iteration_00" / WANTED_FILE, ":")
    moved = [atoms.copy() for atoms in wanted]
    moved[0].positions += 0.01
    open_ = [atoms.copy() for atoms in wanted]
    open_[0].pbc = False
    for wrong in (moved, open_, wanted[::-1], [*wanted, wanted[0]]):
        ase.io.write(loop / "iteration_00" / LABELLED_FILE, [label(atoms) for atoms in wrong])
        with pytest.raises(TrainingError, match="none of the frames"):
            run(resume=True)


def test_another_recipe_or_other_data_do_not_go_on(run, folder, edit, labelled):
    with pytest.raises(TrainingError, match="no loop"):
        run(resume=True)
    run()
    with pytest.raises(UsageError, match="--resume"):
        run()
    edit("examine = 8", "examine = 7")
    with pytest.raises(UsageError, match=r"active\.examine was 8, now it is 7"):
        run(resume=True)
    edit("examine = 7", "examine = 8")
    ase.io.write(folder / "argon.extxyz", [*labelled[:-1], label(frames(30)[-1])])
    with pytest.raises(TrainingError, match="other structures or labels"):
        run(resume=True)


def test_what_would_stop_a_later_iteration_stops_the_first(run, folder, edit, labelled):
    run()
    split = indices(folder / "loop", "iteration_00")
    validates, waits = split["val_idx"][0], split["reserve_idx"][0]
    ase.io.write(folder / "pool.extxyz", [label(frames(30)[-1]), labelled[validates]])
    edit("[active]", '[active]\npool_files = ["pool.extxyz"]')
    with pytest.raises(TrainingError, match="same structure"):
        run("leaking")
    edit('pool_files = ["pool.extxyz"]', "")
    ase.io.write(folder / "argon.extxyz", [*labelled[:waits], frames(26)[waits], *labelled[waits + 1 :]])
    with pytest.raises(TrainingError, match="has no energy"):
        run("unlabelled")
    edit("validation = 4", "validation = 0")
    with pytest.raises(UsageError, match=r"active\.cutoff"):
        run("unjudged")
    edit("train = 4", "train = 24")
    with pytest.raises(UsageError, match="no pool"):
        run("poolless")
    assert not [path for path in folder.rglob("*.safetensors") if "loop" not in path.parts]


def test_the_command_tells_and_waits(unlabelled, monkeypatch, capsys):
    monkeypatch.chdir(unlabelled)
    words = ["active", "recipe.toml", "-o", "loop", "--device", "cpu", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["waiting"] == "loop/iteration_00/labelled.extxyz"
    assert told["iterations"]["iteration_00"]["added"] > 0
    drawn = {path.name for path in (unlabelled / "loop" / "iteration_00" / "member_0").glob("*.png")}
    assert drawn == {"learning_curves.png"}  # there are no test frames
    assert main([*words[:-1], "--resume"]) == 0
    captured = capsys.readouterr()
    assert "validation score" in captured.out
    assert "continue with --resume" in captured.err
    assert main(["active", "recipe.toml", "--threads", "0"]) == 2
    assert main(["train", "recipe.toml"]) == 2
    assert "active" in capsys.readouterr().err
