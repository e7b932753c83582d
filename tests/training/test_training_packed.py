"""Training from a packed file gives the same bits as from any other, without holding frames and graphs."""

import csv
import threading

import ase.io
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from halocline.cli.main import main
from halocline.data.convert import convert
from halocline.errors import TrainingError
from halocline.training.problem import prepare
from halocline.training.recipe import read_recipe
from halocline.training.supply import in_steps

pytest.importorskip("pyarrow", reason="packed files are read by pyarrow, of the extra `data`")

NO_KEYS = {"energy": None, "forces": None, "stress": None}


@pytest.fixture
def both(folder, argon):
    """The same frames in two files, and a recipe for each."""
    ase.io.write(folder / "argon.traj", argon)
    convert([folder / "argon.traj"], folder / "argon.arrow", NO_KEYS, None)
    text = (folder / "recipe.toml").read_text()
    for kind in ("traj", "arrow"):
        (folder / f"{kind}.toml").write_text(text.replace("argon.extxyz", f"argon.{kind}"))
    return folder


def weights_and_losses(folder, kind, capsys):
    run = folder / f"run_{kind}"
    assert main(["train", str(folder / f"{kind}.toml"), "-o", str(run), "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    with (run / "metrics.csv").open() as stream:
        rows = [{key: row[key] for key in row if key != "seconds"} for row in csv.DictReader(stream)]
    return load_file(run / "model.safetensors"), rows, said


@pytest.mark.parametrize("size", ["batch_size = 3", "batch_size = 1", "batch_edges = 400"])
def test_the_fit_is_the_same_to_the_bit(both, size, capsys):
    for kind in ("traj", "arrow"):
        path = both / f"{kind}.toml"
        path.write_text(path.read_text().replace("batch_size = 3", size))
    (one, losses, said), (other, losses_of_packed, _) = (
        weights_and_losses(both, kind, capsys) for kind in ("traj", "arrow")
    )
    assert losses == losses_of_packed
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert "energy   from key 'energy': 14 of 14 frames" in said


def test_a_run_from_a_packed_file_goes_on_only_with_that_file(both, argon, capsys):
    weights_and_losses(both, "arrow", capsys)
    words = ["train", str(both / "arrow.toml"), "-o", str(both / "run_arrow"), "--device", "cpu", "--resume"]
    assert main(words) == 0
    argon[3].calc.results["energy"] += 1e-9
    ase.io.write(both / "argon.traj", argon)
    convert([both / "argon.traj"], both / "argon.arrow", NO_KEYS, None)
    assert main(words) == 1
    assert "other structures or labels" in capsys.readouterr().err


def test_duplicates_and_contacts_are_those_of_the_same_frames_elsewhere(both, argon):
    found = [prepare(read_recipe(both / f"{kind}.toml"), both) for kind in ("traj", "arrow")]
    one, other = found
    assert other.frames.packed
    assert not one.frames.packed
    assert one.graphs.edges == other.graphs.edges
    np.testing.assert_array_equal(one.contacts.shortest, other.contacts.shortest)
    assert one.reference_energies == other.reference_energies
    assert one.split == other.split
    argon[one.split.test[0]] = argon[one.split.train[0]]
    ase.io.write(both / "argon.traj", argon)
    convert([both / "argon.traj"], both / "argon.arrow", NO_KEYS, None)
    with pytest.raises(TrainingError, match=r"serves two purposes: frame \d+ of argon\.arrow"):
        prepare(read_recipe(both / "arrow.toml"), both)


def test_graphs_of_a_packed_file_are_not_kept(both):
    problem = prepare(read_recipe(both / "arrow.toml"), both)
    number = problem.split.train[0]
    assert problem.graphs[number] is not problem.graphs[number]
    assert problem.graphs.edges == sum(len(graph.edges) for graph in problem.graphs.values())


@pytest.mark.parametrize("key", ["energy_key", "forces_key"])
def test_a_key_that_a_packed_file_cannot_have_is_named(both, key):
    path = both / "arrow.toml"
    path.write_text(path.read_text().replace("[data.split]", f'{key} = "TotEnergy"\n[data.split]'))
    with pytest.raises(TrainingError, match=f"{key} = 'TotEnergy' finds nothing there"):
        prepare(read_recipe(path), both)


def test_a_packed_file_without_forces_is_named(both, argon):
    for atoms in argon:
        del atoms.calc.results["forces"]
    ase.io.write(both / "argon.traj", argon)
    convert([both / "argon.traj"], both / "argon.arrow", NO_KEYS, None)
    with pytest.raises(TrainingError, match="None of the 14 frames carries forces: the packed file"):
        prepare(read_recipe(both / "arrow.toml"), both)


class Slow:
    """A sequence that says who asks for its items."""

    def __init__(self, fails_at=None):
        self.asked, self.threads, self.fails_at = [], set(), fails_at

    def __getitem__(self, place):
        self.asked.append(place)
        self.threads.add(threading.current_thread())
        if place == self.fails_at:
            raise TrainingError(f"frame {place} is bad")
        return place


def test_another_thread_makes_a_few_steps_ahead_in_their_order():
    samples = Slow()
    steps = in_steps(samples, [[i, i + 1] for i in range(0, 200, 2)])
    assert next(steps) == [0, 1]
    steps.close()  # as when a run is interrupted
    assert len(samples.asked) <= 8
    assert threading.current_thread() not in samples.threads
    assert not any(thread.is_alive() for thread in samples.threads)
    assert list(in_steps(Slow(), [[3, 1], [2]])) == [[3, 1], [2]]


def test_what_goes_wrong_in_the_thread_is_raised_at_its_step():
    steps = in_steps(Slow(fails_at=2), [[0], [1], [2], [3]])
    assert [next(steps), next(steps)] == [[0], [1]]
    with pytest.raises(TrainingError, match="frame 2 is bad"):
        next(steps)
