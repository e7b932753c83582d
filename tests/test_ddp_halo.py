"""``--halo auto`` measures, chooses once, says why, and changes nothing but the time."""

from __future__ import annotations

import logging
import os
from math import inf

import pytest
from ddp_setups import backbone, distributed, liquid, local, rank_processes, require_equal, structures

from halocline.backends.ddp import halo, worker
from halocline.backends.ddp.halo import ALONE, exchange_pays, open_choice
from halocline.backends.ddp.messages import Assignment, Measured, Trial
from halocline.backends.ddp.model import PortableModel
from halocline.backends.ddp.worker import DomainWorker
from halocline.backends.torch.executor import TorchExecutor
from halocline.bench.structures import disordered_box
from halocline.cost.costs import STATELESS
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds
from halocline.errors import UsageError
from halocline.executor import Executor
from halocline.graph import NeighbourList, Structure
from halocline.place import Place
from halocline.plugin import registry
from halocline.program import Precision

pytestmark = pytest.mark.usefixtures("no_ranks_of_before")

RANKS = 4


class FakeCrew:
    """Answers a trial with what rank 0 is to have measured."""

    def __init__(self, measured):
        self.measured = measured

    def ask(self, messages, kind):
        assert kind is Measured
        self.trials = messages
        return [self.measured, *[Measured()] * (len(messages) - 1)]


@pytest.mark.parametrize(
    ("name", "rule", "ranks", "reason"),
    [
        ("schnet", "recompute", 2, ""),
        ("schnet", "exchange", 2, ""),
        ("lennard-jones", "exchange", 2, ""),
        ("lennard-jones", "auto", 2, STATELESS),
        ("schnet", "auto", 1, ALONE),
        ("chgnet", "auto", 2, backbone("chgnet").exchange_refusal),
    ],
)
def test_there_may_be_nothing_to_choose(name, rule, ranks, reason, caplog):
    with caplog.at_level(logging.INFO, "halocline"):
        assert open_choice(backbone(name), Precision.FLOAT32, rule, ranks) is None
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == bool(reason)
    assert all(each.endswith(reason) and each.startswith("Halos are recomputed") for each in said)


def test_what_there_is_to_choose_by_is_the_model():
    model = backbone("schnet")
    assert open_choice(model, Precision.FLOAT32, "auto", 2) == Profile.of(model, Precision.FLOAT32)


@pytest.mark.parametrize(
    ("measured", "exchanged", "reason"),
    [
        (Measured(Speeds(1e-6, inf, 0.0)), True, "Halos are exchanged: a step should take"),
        (Measured(Speeds(1e-6, inf, 1e9)), False, "Halos are recomputed: a step should take"),
        (
            Measured(refusal="Stages it has none."),
            False,
            "Halos are recomputed, because they must be. Stages it has none.",
        ),
    ],
    ids=["instant link", "late link", "whole programs only"],
)
def test_the_choice_follows_what_was_measured_and_is_explained(measured, exchanged, reason, caplog):
    model, crew = backbone("schnet"), FakeCrew(measured)
    structure = Structure.from_atoms(disordered_box(model.species, 1000, density=0.1))
    graph = NeighbourList(model.neighbours).graph(structure)
    owners = registry().load("partitioner", "rcb")().owners(graph, RANKS)
    profile = Profile.of(model, Precision.FLOAT32)
    with caplog.at_level(logging.INFO, "halocline"):
        found = exchange_pays(crew, profile, graph, owners, parts=RANKS, ranks=RANKS)
    assert found is exchanged
    (record,) = caplog.records
    assert record.name == "halocline"
    assert record.getMessage().startswith(reason)
    assert [trial.graph is None for trial in crew.trials] == [False, True, True, True]
    assert len({trial.group for trial in crew.trials}) == 1
    assert len(crew.trials[0].graph.structure) == 1000 // RANKS  # never more at once than a step evaluates


def test_an_executor_of_whole_programs_rules_exchange_out(monkeypatch):
    monkeypatch.setattr(TorchExecutor, "prepare_stages", Executor.prepare_stages)
    monkeypatch.setattr(worker, "time_link", lambda *_: (1e9, 1e-5))
    model, place = backbone("schnet"), Place(0, 2, 0, 2)
    described = PortableModel.of(model), Precision.FLOAT64, "torch", "cpu"
    graph = NeighbourList(model.neighbours).graph(liquid(model))
    said = DomainWorker(Assignment(*described, exchange=False, timeout=5.0), place).measure(Trial(graph, "group"))
    assert said.refusal == "This backend runs whole programs only, not their stages; choose halo=recompute."
    with pytest.raises(UsageError, match="whole programs only"):
        DomainWorker(Assignment(*described, exchange=True, timeout=5.0), place)


@pytest.mark.parametrize("chosen", ["exchange", pytest.param("recompute", marks=pytest.mark.slow)])
def test_ranks_measure_and_stay_with_one_choice(chosen, monkeypatch):
    """Also when they have to be started anew. An atom without neighbours says nothing yet."""
    speeds = []

    def choose(profile, loads, measured, *, resident):
        assert not resident
        speeds.append(measured)
        return chosen, "so it was chosen"

    monkeypatch.setattr(halo, "choose_halo", choose)
    model = backbone("schnet")
    evaluator, expected = distributed(model), local(model)
    several = list(structures(model))
    alone = next(structure for structure in several if len(structure) == 1 and not structure.pbc.any())
    require_equal(evaluator.evaluate(alone), expected.evaluate(alone))
    assert not speeds
    for structure in several:
        require_equal(evaluator.evaluate(structure), expected.evaluate(structure))
    evaluator._crew.kill()
    for structure in several[:2]:
        require_equal(evaluator.evaluate(structure), expected.evaluate(structure))
    (measured,) = speeds
    assert measured.seconds_per_edge > 0.0
    assert measured.bytes_per_second > 0.0
    assert measured.latency > 0.0
    evaluator.close()
    assert not rank_processes(os.getpid())
