"""What is to run on a GPU runs on the CPU, and a stage that goes wrong takes no other along."""

from __future__ import annotations

import json
import os
import time

import pytest
from gpu import __main__ as script
from gpu.report import Report, Stage

pytestmark = pytest.mark.slow  # each stage is a process that imports torch

#: Stages that CI rehearses.
QUICK = ("eager", "hosts")


def crash(device, quick):
    """A stage that ends its process."""
    yield {"before": 1}
    os.abort()


def hang(device, quick):
    """A stage that does not end."""
    yield {"before": 1}
    time.sleep(600)


def wrong(device, quick):
    """A stage that finds a fault."""
    yield {"ok": False, "device": device}


@pytest.fixture(autouse=True)
def found_by_processes(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["benchmarks", "tests"]))
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def run(folder, *options):
    """The exit status, and the document."""
    path = folder / "found" / "gpu.json"
    status = script.main(["--output", str(path), "--device", "cpu", "--quick", *options])
    return status, json.loads(path.read_text())


# The stage aot runs what inductor runs, in packages, and exports are packages as well.
@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, marks=[pytest.mark.exhaustive] * (stage not in QUICK))
        for stage in sorted(set(script.STAGES) - {"aot"})
    ],
)
@pytest.mark.timeout(1800)  # beside other tests
def test_every_stage_runs_with_the_cpu_in_place_of_a_gpu(stage, tmp_path, capfd):
    status, document = run(tmp_path, "--stages", stage, "--limit", "1200")
    assert status == 0, capfd.readouterr().out
    (found,) = document["stages"].values()
    assert found["good"]
    assert found["records"]
    assert not found["failure"]
    assert any("ok" in record or "us_per_atom" in record for record in found["records"])
    assert set(document["measured"]["sources"]) == {"halocline", "matrix", "gpu"}
    assert document["measured"]["machine"]["device"] == "cpu"


def test_a_stage_that_goes_wrong_takes_no_other_along(tmp_path, monkeypatch, capfd):
    stages = {
        name: (f"test_gpu_script:{name}", 3 if name == "hang" else 60) for name in ("crash", "hang", "wrong")
    }
    monkeypatch.setattr(script, "STAGES", stages)
    monkeypatch.setattr(script, "PATIENCE", 3)
    status, document = run(tmp_path, "--stages", *stages)
    assert status == 1
    found = document["stages"]
    assert [found[name]["good"] for name in stages] == [False] * 3
    assert found["crash"]["records"] == [{"before": 1}]
    assert "SIGABRT" in found["crash"]["failure"]
    assert "did not end" in found["hang"]["failure"]
    assert found["wrong"]["records"] == [{"ok": False, "device": "cpu"}]
    assert '"ok": false' in capfd.readouterr().out


def test_what_there_is_no_time_for_is_said(tmp_path):
    status, document = run(tmp_path, "--stages", "eager", "--limit", "0")
    assert status == 1
    assert document["stages"]["eager"]["failure"] == "The time was over before it began."


def test_the_file_is_whole_after_every_stage(tmp_path):
    path = tmp_path / "gpu.json"
    report = Report(path, {"machine": {"device": "cpu"}})
    report.enter("first", Stage([{"ok": True}], [], "", 1.0))
    assert json.loads(path.read_text())["good"]
    report.enter("second", Stage([], ["a warning"], "It was ended by SIGKILL.", 2.0))
    document = json.loads(path.read_text())
    assert not document["good"]
    assert list(document["stages"]) == ["first", "second"]
