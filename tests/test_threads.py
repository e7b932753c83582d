"""Threads may share a potential, and never get each other's numbers; a calculator is for one at a time."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from structures import random_structure

from halocline.errors import UsageError
from halocline.evaluator import Evaluator
from halocline.evaluator.result import Result
from halocline.graph import NeighbourList, Radius, Structure
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

CONFIG = {"species": ["H", "O"], "features": 16, "gaussians": 12, "layers": 2, "cutoff": 3.5}
THREADS = 4

#: Options that threads use side by side.
OPTIONS = (
    {"backend": "torch", "dtype": "float32"},
    {"backend": "torch", "dtype": "float64"},
    {"backend": "torch", "dtype": "float64", "partition": "rcb:3", "halo": "exchange"},
    {"backend": "onnx:threads=1", "dtype": "float32"},
)


def network():
    return Potential(build_backbone("schnet", CONFIG, seed=1), {"H": -13.6, "O": -2041.8}, {"name": "test"})


@pytest.fixture(scope="module")
def structures():
    return [random_structure(seed, pbc=seed % 2 == 0, atoms=6 + 3 * seed) for seed in range(6)]


def numbers(result):
    return result.energies.tobytes() + result.forces.tobytes() + result.virial.tobytes()


@pytest.mark.parametrize("options", [OPTIONS[:1], OPTIONS], ids=["the same options", "different options"])
def test_a_shared_potential_gives_the_bits_of_one_thread(options, structures):
    alone, shared = network(), network()
    tasks = [(atoms, each) for atoms in structures for each in options] * 6
    expected = [numbers(alone(atoms, **each, device="cpu")) for atoms, each in tasks]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda task: numbers(shared(task[0], **task[1], device="cpu")), tasks))
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    ["torch:compile=inductor", pytest.param("ipu:target=cpu", marks=pytest.mark.exhaustive), "ddp:ranks=2"],
)
def test_backends_that_take_one_call_at_a_time_are_shared_too(backend, structures):
    potential = network()
    expected = [potential(atoms, backend=backend, device="cpu").forces for atoms in structures] * 3
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda a: potential(a, backend=backend, device="cpu").forces, structures * 3))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_models_are_built_from_their_seeds_side_by_side():
    expected = build_backbone("schnet", CONFIG, seed=1).state_dict()
    with ThreadPoolExecutor(THREADS) as pool:
        built = list(pool.map(lambda _: build_backbone("schnet", CONFIG, seed=1).state_dict(), range(24)))
    for weights in built:
        assert all(np.array_equal(weights[name], tensor) for name, tensor in expected.items())


def test_evaluators_of_strangers_take_turns():
    class Counting(Evaluator):
        inside = most = 0

        def evaluate(self, structure):
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.01)
            self.inside -= 1
            return Result(np.zeros(1), np.zeros((1, 3)), np.zeros((3, 3)), None)

    evaluator = Counting()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(evaluator.evaluate, [None] * 8))
    assert evaluator.most == 1


def test_a_list_hands_out_one_search_at_a_time(structures):
    shared = NeighbourList(Radius(3.0))
    known = [Structure.from_atoms(atoms) for atoms in structures]
    expected = [NeighbourList(Radius(3.0)).graph(structure) for structure in known]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda i: (i, shared.graph(known[i])), list(range(len(known))) * 40))
    for i, graph in found:
        assert np.array_equal(graph.vectors, expected[i].vectors)
        assert np.array_equal(graph.partners, expected[i].partners)


def test_a_structure_moved_in_place_is_searched_anew(structures):
    structure = Structure.from_atoms(structures[2])
    evaluator = network().evaluator("torch", "float64", "cpu", "none", "auto")
    evaluator.evaluate(structure)
    structure.positions[0] += [2.0, -1.0, 1.5]
    expected = network().evaluator("torch", "float64", "cpu", "none", "auto").evaluate(structure)
    assert numbers(evaluator.evaluate(structure)) == numbers(expected)


def test_a_calculator_refuses_a_second_thread_and_serves_the_next(structures):
    calculator = network().calculator()
    evaluator, started, go_on = calculator._evaluator, threading.Event(), threading.Event()
    evaluate = evaluator.evaluate

    def slow(structure):
        started.set()
        assert go_on.wait(60)
        return evaluate(structure)

    evaluator.evaluate = slow
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(calculator.get_property, "forces", structures[0])
        assert started.wait(60)
        for ask in (calculator.get_property, calculator.get_potential_energy, calculator.calculate):
            arguments = ("energy", structures[1]) if ask == calculator.get_property else (structures[1],)
            with pytest.raises(UsageError, match="make one for each thread"):
                ask(*arguments)
        go_on.set()
        forces = first.result()
    assert np.array_equal(forces, network()(structures[0]).forces)
    assert calculator.get_potential_energy(structures[1]) == network()(structures[1]).energy


def test_threads_that_share_a_calculator_get_their_own_numbers_or_an_error(structures):
    calculator = network().calculator()
    expected = [network()(atoms).forces for atoms in structures]

    def ask(i):
        try:
            return np.array_equal(calculator.get_property("forces", structures[i]), expected[i])
        except UsageError:
            return True

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(ask, list(range(len(structures))) * 30))


@pytest.mark.parametrize("backend", ["torch", "onnx:threads=1"])
def test_what_has_been_evaluated_is_pickled_without_it(backend, structures):
    potential = network()
    calculator = potential.calculator(backend=backend)
    energy = calculator.get_potential_energy(structures[0])
    assert potential(structures[0], backend=backend).energy == energy
    assert pickle.loads(pickle.dumps(potential))(structures[0], backend=backend).energy == energy
    again = pickle.loads(pickle.dumps(calculator))
    again.reset()
    assert again.get_potential_energy(structures[0]) == energy


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_evaluates_while_its_parent_did():
    """The lock is another thread's, which is not in the fork; nor are the threads of OpenMP."""
    atoms, potential = random_structure(4, pbc=True, atoms=200), network()
    expected = potential(atoms, device="cpu").forces
    held, go_on = threading.Event(), threading.Event()

    def hold():
        with potential._making, potential._kept_evaluator("torch", "float32", "cpu", "none", "auto", None)._turn:
            held.set()
            assert go_on.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    child = os.fork()
    if not child:
        signal.alarm(60)  # a fork that waits for ever is killed
        forces = potential(atoms, device="cpu").forces
        os._exit(not np.allclose(forces, expected, rtol=0, atol=1e-5))
    _, status = os.waitpid(child, 0)
    go_on.set()
    thread.join()
    assert status == 0
    assert np.array_equal(potential(atoms, device="cpu").forces, expected)
