"""Settings of the whole test run."""

from __future__ import annotations

import gc
import os
import signal

import pytest
import torch

from halocline.graph.compiled import WORTHWHILE, steps

# The tests compute on small arrays, on machines with few and busy cores: there, a second thread mostly waits.
torch.set_num_threads(1)

# Tables are as wide as the terminal, and tests read them: those of other widths say so.
os.environ["COLUMNS"] = "100"

# A shell lets its background jobs ignore SIGINT, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def steps_compiled_at_the_start():
    """Otherwise this would happen in whichever test makes the fiftieth pass over a neighbour list."""
    for _ in range(WORTHWHILE):
        steps.of_pass()


@pytest.fixture
def no_ranks_of_before():
    """Calculators that other tests have forgotten refer to themselves, and keep their ranks until collected."""
    gc.collect()


@pytest.fixture
def let_ranks_run(monkeypatch, tmp_path):
    """Have ranks that are started from now on run a text before they do what ranks do."""

    def put(text):
        main = "from halocline.backends.ddp.rank import main\nmain(int(sys.argv[1]), float(sys.argv[2]))\n"
        (tmp_path / "patched_ddp_rank.py").write_text(f"{text}\nimport sys\n{main}")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        monkeypatch.setattr("halocline.backends.ddp.spawning.MODULE", "patched_ddp_rank")

    return put


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the zoo, which nothing of the user's environment changes, and no proxy before servers."""
    for name in ("HALOCLINE_OFFLINE", "HALOCLINE_MODEL_PATH", "HALOCLINE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
