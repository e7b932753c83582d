"""Importing Halocline leaves no trace: no heavy library, no file, no socket, no changed setting."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "ase", "scipy", "matplotlib", "rich", "pluggy"}

# Audit events see every file opened for writing, every folder made and every socket, wherever it is.
WATCH = """
import json, os, sys
traces = []
def watch(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in ("os.mkdir", "os.rename", "os.putenv", "socket.__new__", "socket.getaddrinfo"):
        traces.append([event, *map(str, args)])
sys.addaudithook(watch)
"""
REPORT = "\nprint(json.dumps({'modules': sorted(sys.modules), 'traces': traces}))"

STATE = """
import importlib.util, pkgutil, random, numpy, torch
def state():
    return (
        random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
        str(torch.get_default_dtype()), torch.get_num_threads(), torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32, torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(), numpy.geterr(), dict(os.environ),
    )
before = state()
traces.clear()
"""


@pytest.fixture
def run(tmp_path):
    """Run a script in a fresh process whose home, caches and working folder are one empty folder."""
    home = tmp_path / "home"
    home.mkdir()
    folders = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HALOCLINE_", "XDG_"))}
    env = clean | dict.fromkeys(folders, str(home)) | {"PYTHONDONTWRITEBYTECODE": "1"}

    def run(script):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WATCH + script + REPORT],
            cwd=home,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout), home

    return run


def test_import_is_light_and_writes_nothing(run):
    report, home = run("import halocline; halocline.__version__")
    assert not HEAVY & set(report["modules"])
    assert report["traces"] == []
    assert list(home.iterdir()) == []


def test_import_loads_no_plugin(run):
    report, _ = run("import halocline")
    assert [name for name in report["modules"] if name.startswith("halocline")] == ["halocline", "halocline.lazy"]


def test_public_names_resolve(run):
    run("import halocline\nfor name in halocline.__all__: getattr(halocline, name)")


def test_unknown_attribute_is_an_attribute_error():
    import halocline

    with pytest.raises(AttributeError, match="'halocline' has no attribute 'nothing'"):
        halocline.nothing  # noqa: B018


def test_no_module_changes_the_process(run):
    """Every module of the package is imported; torch and numpy were there before.

    Left out are those that draw, as matplotlib makes its own cache folder when it is imported, operators in Triton
    where there is none, and models of engines, which import the engine.
    """
    report, home = run(
        STATE
        + """
import halocline
for module in pkgutil.walk_packages(halocline.__path__, "halocline."):
    in_triton = module.name.startswith("halocline.plugins.triton_operators.")
    drawn, of_engine = module.name.endswith(".plot"), module.name.startswith("halocline.engines.")
    if not drawn and not of_engine and (not in_triton or importlib.util.find_spec("triton")):
        importlib.import_module(module.name)
assert state() == before
"""
    )
    folders = {"core", "plugins", "backends", "zoo"}
    assert not folders & set(report["modules"]), "the folders are importable by their own names"
    assert "matplotlib" not in report["modules"]
    assert report["traces"] == []
    assert list(home.iterdir()) == []
