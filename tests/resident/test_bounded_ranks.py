"""A bound on memory decides into how many parts a rank divides the atoms that live on it."""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from ddp_setups import rank_processes
from deep_chains import chain, deep
from thread_residents import ThreadCrew

from halocline.backends.ddp.resident.driver import DdpResidents
from halocline.bench.structures import disordered_box
from halocline.dynamics import RunFiles, Settings
from halocline.dynamics.resident_run import open_houses, run_resident
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import UsageError
from halocline.memory.memory_model import PROCESS
from halocline.partition import Division
from halocline.partition.size import format_size

RANKS = 2

#: Bytes: beside those of the process, whole ranks of so small a structure need some 600 KiB, and parts of one atom
#: some 200.
TIGHT, TOO_TIGHT = PROCESS + 400 * 2**10, PROCESS + 128 * 2**10

#: Å and √(amu·eV): parts only change the order of sums.
SAME = 1e-9

MIB = 2**20


def run(prefix, bound, steps=20, **options):
    crew = ThreadCrew(deep().backbone, RANKS)
    here = DdpResidents(lambda: crew, RANKS, partition="rcb:1", memory=bound)
    chosen = Settings(ensemble="nvt", temperature=300.0, timestep=1.0, seed=2, frame_interval=4)
    given = {"steps": steps, "minimum_distance": 0.0, "checkpoint_interval": 5} | options
    run_resident(chain(), deep(), here, chosen, RunFiles(prefix), **given)
    return [len(np.unique(worker._residence._domain.domain.parts)) for worker in crew.workers]


def test_a_bounded_rank_divides_what_it_owns_and_resumes_to_the_bit(tmp_path):
    assert run(tmp_path / "roomy", 2 * PROCESS) == [1, 1]
    assert min(run(tmp_path / "tight", TIGHT)) > 1
    run(tmp_path / "halting", TIGHT, steps=11)
    run(tmp_path / "halting", TIGHT, resume=True)
    roomy, tight, halting = (
        load_snapshot(RunFiles(tmp_path / name).checkpoint) for name in ("roomy", "tight", "halting")
    )
    np.testing.assert_allclose(tight.positions, roomy.positions, rtol=0, atol=SAME)
    np.testing.assert_allclose(tight.momenta, roomy.momenta, rtol=0, atol=SAME)
    np.testing.assert_equal((tight.positions, tight.momenta), (halting.positions, halting.momenta))


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (
            100 * MIB,
            r"The process and the neighbour list of \d+ atoms alone need 43\d MiB, more than the 100 MiB allowed",
        ),
        (TOO_TIGHT, rf"A part of a single atom needs \S+ MiB .* than {format_size(TOO_TIGHT)} leave"),
    ],
)
def test_what_no_parts_can_bring_below_the_bound_is_refused_with_the_number(tmp_path, bound, message):
    with pytest.raises(UsageError, match=message):
        run(tmp_path / "run", bound)
    assert not RunFiles(tmp_path / "run").checkpoint.exists()


@pytest.mark.slow
def test_the_high_water_marks_of_ranks_stay_within_the_bound(tmp_path):
    """The last bound leaves ranks whole, and shows that the other does hold something back."""
    box, peaks = disordered_box(deep().backbone.species, 16_000, 0.1), []
    for bound in (540, 10_000):
        chosen, files = Settings(ensemble="nve", temperature=300.0, timestep=0.5), RunFiles(tmp_path / str(bound))
        with closing(open_houses(deep(), "ddp:ranks=2", "float64", "cpu", "auto", compress=False)) as houses:
            residents = houses.residents(Division.parse("none", f"{bound}MiB"))
            run_resident(box, deep(), residents, chosen, files, steps=0, minimum_distance=0.0)
            peaks.append([peak_of(pid) for pid in rank_processes(os.getpid())])
        assert len(peaks[-1]) == RANKS
        assert max(peaks[-1]) <= bound
    assert min(peaks[1]) > 540


def peak_of(process):
    """MiB that a process has had at once."""
    (line,) = (each for each in Path(f"/proc/{process}/status").read_text().splitlines() if "VmHWM" in each)
    return int(line.split()[1]) / 1024
