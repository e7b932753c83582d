"""Processes of Halocline's own keep the memory that tensors leave; others, and users' settings, are left alone."""

import os
import platform
import subprocess
import sys

import pytest

from halocline.allocation import keep_memory
from halocline.backends.ddp import rank
from halocline.cli import main as program

BLOCK = 2**26

#: Prints whether memory is kept, and by how many bytes the process is smaller once a block is gone.
SCRIPT = f"""
import os, resource
from halocline.allocation import keep_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

kept = keep_memory(os.environ)
block = b"x" * {BLOCK}
held = resident()
del block
print(int(kept), held - resident())
"""

glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back like this")


@glibc_only
@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, True),
        ({"MALLOC_MMAP_THRESHOLD_": "131072"}, False),
        ({"GLIBC_TUNABLES": "glibc.malloc.check=0"}, False),
    ],
    ids=["nothing set", "a variable", "tunables"],
)
def test_whether_a_block_goes_back(settings, kept):
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=settings, capture_output=True, text=True, check=True)
    said, given_back = map(int, done.stdout.split())
    assert bool(said) == kept
    assert (given_back < BLOCK // 2) == kept


@glibc_only
def test_what_was_kept_goes_back_where_a_bound_is_set_later():
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    later = SCRIPT.replace("import keep_memory", "import give_memory_back, keep_memory")
    later = later.replace("(os.environ)\n", "(os.environ) and give_memory_back(os.environ)\n")
    done = subprocess.run([sys.executable, "-c", later], env=paths, capture_output=True, text=True, check=True)
    said, given_back = map(int, done.stdout.split())
    assert said
    assert given_back > BLOCK // 2


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_memory({})


@pytest.fixture
def calls(monkeypatch):
    """How often a command asked for it."""
    found = []
    monkeypatch.setattr(program, "keep_memory", found.append)
    return found


@pytest.mark.parametrize(("bound", "times"), [((), 1), (("--memory", "8GiB"), 0)], ids=["no bound", "a bound"])
def test_commands_keep_memory_unless_there_is_a_bound(monkeypatch, calls, bound, times):
    monkeypatch.setattr(sys, "argv", ["halocline", "run", "missing.xyz", *bound])
    assert program.main() == 1
    assert len(calls) == times


def test_a_call_from_python_changes_nothing(calls):
    assert program.main(["run", "missing.xyz"]) == 1
    assert not calls


def test_ranks_keep_memory(monkeypatch):
    class AskedError(Exception):
        """Enough was seen."""

    def keep(environment):
        raise AskedError

    monkeypatch.setattr(rank, "keep_memory", keep)
    with pytest.raises(AskedError):
        rank.main(0, 1.0)
