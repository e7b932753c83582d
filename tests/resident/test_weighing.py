"""``--halo auto`` for atoms that live on ranks: the choice of calculators, kept for as long as the run goes on."""

import logging
from math import inf

import numpy as np
import pytest
from deep_chains import chain, deep
from thread_residents import ThreadCrew

from halocline.backends.ddp.halo import LONELY, exchange_pays
from halocline.backends.ddp.messages import Measured, Weighed
from halocline.backends.ddp.resident.driver import DdpResidents
from halocline.backends.ddp.worker import DomainWorker
from halocline.cost.costs import choose_halo, cost_of_exchange, cost_of_recompute
from halocline.cost.loads import Load, Loads, RankLoad, count_loads
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds
from halocline.dynamics import RunFiles, Settings
from halocline.dynamics.resident_run import run_resident
from halocline.dynamics.snapshot import load_snapshot
from halocline.graph import NeighbourList, Structure
from halocline.partition import Cutter
from halocline.program import Precision

RANKS = 3

#: Of ranks for which it costs nothing to exchange, and everything.
INSTANT, LATE = Speeds(1e-6, inf, 0.0, value_share=0.0), Speeds(1e-6, inf, 1e9)


def profile():
    return Profile.of(deep().backbone, Precision.FLOAT64)


@pytest.fixture
def measuring(monkeypatch):
    """Let ranks measure what they are told, and note who does."""
    trials = []

    def tell(measured):
        def measure(worker, trial):
            trials.append(trial.graph)
            return Measured() if trial.graph is None else measured

        monkeypatch.setattr(DomainWorker, "measure", measure)
        return trials

    return tell


class Watched(ThreadCrew):
    """Remembers what ranks have found out."""

    weighed = None

    def ask(self, messages, kind):
        found = super().ask(messages, kind)
        if kind is Weighed:
            self.weighed = found
        return found


def run(prefix, steps=0, atoms=None, *, choice=True, ranks=RANKS, exchange=False, partition="none", resume=False):
    crew = Watched(deep().backbone, ranks)
    options = {"choice": profile() if choice else None, "exchange": exchange, "partition": partition}
    here = DdpResidents(lambda: crew, ranks, **options)
    chosen = Settings(ensemble="nvt", temperature=300.0, timestep=1.0, seed=2, frame_interval=4)
    given = {"steps": steps, "minimum_distance": 0.0, "checkpoint_interval": 5, "resume": resume}
    run_resident(chain() if atoms is None else atoms, deep(), here, chosen, RunFiles(prefix), **given)
    return crew


def owners_of(crew, atoms):
    """The part of each atom, by what ranks hold and how they divide it."""
    owners = np.empty(len(atoms), np.int64)
    domains = [worker._residence._domain.domain for worker in crew.workers]
    parts = max(int(domain.parts.max()) for domain in domains) + 1
    for rank, domain in enumerate(domains):
        owners[domain.atoms[: domain.owned]] = parts * rank + domain.parts
    return owners, parts * len(domains)


@pytest.mark.parametrize("partition", ["none", "rcb:3"])
def test_ranks_count_what_a_driver_would_that_had_the_whole_structure(tmp_path, measuring, caplog, partition):
    trials = measuring(Measured(LATE))
    with caplog.at_level(logging.INFO, "halocline"):
        crew = run(tmp_path / "run", partition=partition)
    structure = Structure.from_atoms(chain())
    graph = NeighbourList(deep().backbone.neighbours).graph(structure)
    owners, parts = owners_of(crew, structure)
    expected = count_loads(graph.edges, owners, parts=parts, ranks=RANKS, profile=profile())
    assert Loads.of_ranks([each.load for each in crew.weighed], len(structure), profile()) == expected
    assert expected.recompute.edges > expected.exchange.edges > 0
    (_, why), (record,) = choose_halo(profile(), expected, LATE, resident=True), caplog.records
    assert record.getMessage() == why
    assert len(trials) == RANKS
    assert sum(trial is not None for trial in trials) == 1
    rank_of, cutter = owners * RANKS // parts, Cutter(graph.edges, len(structure))
    for rank, weighed in enumerate(crew.weighed):
        owned = np.flatnonzero(rank_of == rank)
        of_whole = RankLoad.counted(cutter, owned, owners[owned], rank_of, ranks=RANKS, profile=profile())
        np.testing.assert_equal(weighed.load, of_whole)
    (busiest,) = (rank for rank, each in enumerate(crew.weighed) if each.measured.speeds)
    assert crew.weighed[busiest].load.recomputed == expected.recompute.edges


@pytest.mark.parametrize(
    ("measured", "exchanged", "reason"),
    [
        (Measured(INSTANT), True, "Halos are exchanged: a step should take"),
        (Measured(LATE), False, "Halos are recomputed: a step should take"),
        (Measured(refusal="Stages it has none."), False, "Halos are recomputed, because they must be. Stages it"),
    ],
    ids=["instant link", "late link", "whole programs only"],
)
def test_the_choice_is_that_of_calculators_for_the_same_owners(
    tmp_path, measuring, caplog, measured, exchanged, reason
):
    measuring(measured)
    with caplog.at_level(logging.INFO, "halocline"):
        crew = run(tmp_path / "run")
    (record,) = caplog.records
    assert record.getMessage().startswith(reason)
    assert all(worker._residence._exchange is exchanged for worker in crew.workers)
    structure = Structure.from_atoms(chain())
    graph = NeighbourList(deep().backbone.neighbours).graph(structure)
    owners, parts = owners_of(crew, structure)

    class Crew:
        def ask(self, messages, kind):
            return [measured]

    assert exchange_pays(Crew(), profile(), graph, owners, parts=parts, ranks=RANKS) is exchanged


def test_a_run_goes_on_with_the_choice_of_its_start_to_the_bit(tmp_path, measuring, caplog):
    measuring(Measured(INSTANT))
    run(tmp_path / "straight", steps=16)
    run(tmp_path / "named", steps=16, choice=False, exchange=True)
    run(tmp_path / "halting", steps=7)
    measuring(Measured(LATE))
    caplog.clear()
    with caplog.at_level(logging.INFO, "halocline"):
        crew = run(tmp_path / "halting", steps=16, resume=True)
    assert crew.weighed is None
    assert [record.getMessage() for record in caplog.records] == ["Halos are exchanged, as this run was begun."]
    files = [RunFiles(tmp_path / name) for name in ("straight", "named", "halting")]
    for each in ("log", "trajectory"):
        assert len({getattr(file, each).read_bytes() for file in files}) == 1
    left, right = (load_snapshot(file.checkpoint) for file in (files[0], files[2]))
    np.testing.assert_equal((left.positions, left.momenta), (right.positions, right.momenta))


def test_on_another_number_of_ranks_it_is_chosen_anew(tmp_path, measuring):
    measuring(Measured(INSTANT))
    run(tmp_path / "run", steps=3)
    measuring(Measured(LATE))
    crew = run(tmp_path / "run", steps=6, ranks=2, resume=True)
    assert len(crew.weighed) == 2
    assert not load_snapshot(RunFiles(tmp_path / "run").checkpoint).placing["exchange"]


def test_atoms_without_neighbours_say_nothing_about_speed(tmp_path, measuring, caplog):
    measuring(Measured(INSTANT))
    apart = chain(3)[[0, 3, 6]]
    apart.positions *= 100.0
    with caplog.at_level(logging.INFO, "halocline"):
        run(tmp_path / "run", atoms=apart)
    assert [record.getMessage() for record in caplog.records] == [LONELY]


def test_positions_and_forces_go_between_ranks_and_not_through_the_driver():
    load = Load(ranks=4, atoms=100, edges=1000.0, halo=10, held=300)
    speeds = Speeds(1e-6, 1e6, 1e-3, value_share=0.5, seconds_per_atom=1.0)
    cost = cost_of_recompute(load, speeds, resident=True)
    assert (cost.driver, cost.serial) == (0.0, 0.0)
    assert cost.compute == pytest.approx(1e-3)
    assert cost.links == pytest.approx(48 * 50 / 1e6 + 4 * 1e-3)
    sent = Profile((1, 0), (0, 0), bytes=128, rounds=2)
    other = cost_of_exchange(load, sent, speeds, resident=True)
    assert other.links - cost.links == pytest.approx(10 * 128 / 1e6 + 2e-3)
