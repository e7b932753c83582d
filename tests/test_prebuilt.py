"""Libraries that a wheel carries: found by what they were made of, right, and used where there is no compiler."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

import halocline
from halocline.errors import KernelError
from halocline.native import libraries, library
from halocline.native import prebuilt as module
from halocline.native.compiler import find_compiler
from halocline.native.libraries import Asked
from halocline.native.prebuilt import LEVELS, levels, prebuild, prebuilt
from halocline.plugins.kernels.shipped import asked_libraries

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.skipif(not levels(), reason="no processor that libraries are prebuilt for"),
    pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler to prebuild with"),
]

SOURCE = '#include "lanes.h"\nextern "C" int lanes() { return halo::LANES<float>; }\n'
LANES = {"x86-64-v4": 16, "x86-64-v3": 8}

#: What a SchNet takes; to compile all that is shipped takes minutes.
NAMES = "convolution,edges,softplus,lanes,steps,rows"

#: Of forces in eV/Å, where the largest are about 4: the same sums in vectors of another width.
AGREEMENT = 1e-11

SCRIPT = """
import json, sys
import numpy as np
from ase.io import read
import halocline
from halocline.doctor.native import examine
from halocline.native import compiler, prebuilt
if sys.argv[2:]:
    prebuilt.levels = lambda: tuple(sys.argv[2:])
assert compiler.find_compiler() is None
potential = halocline.load("water-revpbe0d3-schnet")
calculator = potential.calculator(device="cpu", dtype="float64")
result = potential(read(sys.argv[1]), device="cpu", dtype="float64")
print(json.dumps({
    "place": halocline.__file__, "kernels": sorted({each.kernel for each in calculator.replaced}),
    "native": list(examine({})), "forces": result.forces.tolist(), "energy": result.energy,
}))
"""


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A package that carries one library, in a process that has loaded nothing and has no compiler."""
    prebuild([Asked("test", SOURCE, ())], tmp_path)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(libraries, "_loaded", {})
    monkeypatch.setenv("CXX", "no-such-compiler")
    module._listed.cache_clear()
    yield tmp_path
    module._listed.cache_clear()


def test_nothing_is_compiled_that_is_carried(carried):
    assert len(list(carried.glob("*.so"))) == len(LEVELS)
    assert library("test", SOURCE).lanes() == LANES[levels()[0]]


@pytest.mark.usefixtures("carried")
def test_processors_have_what_they_can_run(monkeypatch):
    monkeypatch.setattr(module, "levels", lambda: ("x86-64-v3",))
    assert library("test", SOURCE).lanes() == 8
    monkeypatch.setattr(module, "levels", lambda: ())
    assert prebuilt("test", SOURCE) is None


@pytest.mark.usefixtures("carried")
def test_other_sources_and_flags_are_not_found():
    assert prebuilt("test", SOURCE) is not None
    assert prebuilt("test", SOURCE + "\n") is None
    assert prebuilt("test", SOURCE, ("-ffp-contract=off",)) is None
    with pytest.raises(KernelError, match="no C\\+\\+ compiler"):
        library("test", SOURCE + "\n")


def test_what_is_damaged_is_not_loaded(carried, caplog):
    for path in carried.glob("*.so"):
        path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, logger="halocline"):
        assert prebuilt("test", SOURCE) is None
    assert "damaged" in caplog.text


def test_levels_are_told_by_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Path", lambda name: tmp_path / "cpuinfo")
    needed = [*LEVELS["x86-64-v3"], *LEVELS["x86-64-v4"]]
    for flags, found in ((needed, tuple(LEVELS)), (needed[:-1], ("x86-64-v3",)), (needed[1:], ())):
        (tmp_path / "cpuinfo").write_text(f"model name : x\nflags\t\t: sse {' '.join(flags)}\n")
        levels.cache_clear()
        assert levels() == found
    levels.cache_clear()


def test_all_sources_are_shipped():
    """Generated code, too, as kernels ask for it; in a process of its own, where nothing is compiled."""
    code = f"from {asked_libraries.__module__} import *; print(*(each.name for each in asked_libraries()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    names = done.stdout.split()
    sources = {path.stem for path in (ROOT / "plugins" / "fused").glob("*.cpp")}
    assert set(names) >= {*sources, "rows", "steps", "lanes", "product", "contraction", "density"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A wheel with libraries, and the folder that it is installed into."""
    folder, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("target")
    environment = os.environ | {"HALOCLINE_PREBUILD": NAMES}
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return wheel, target


@pytest.mark.slow
def test_a_wheel_runs_fused_kernels_where_there_is_no_compiler(installed, tmp_path):
    wheel, target = installed
    assert wheel.name.endswith("-py3-none-linux_x86_64.whl")
    water = ROOT / "examples" / "water.extxyz"
    expected = halocline.load("water-revpbe0d3-schnet")(read(water), device="cpu", dtype="float64")
    for asked in ((), ("x86-64-v3",)):
        environment = {
            **{name: value for name, value in os.environ.items() if name not in ("CXX", "PYTHONPATH")},
            "PATH": "",
            "PYTHONPATH": str(target),
            "HALOCLINE_CACHE_DIR": str(tmp_path / "cache"),
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(water), *asked],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert Path(told["place"]).is_relative_to(target)
        assert told["kernels"] == ["halocline/schnet"]
        lanes = LANES[(asked or levels())[0]]
        assert told["native"] == [f"usable: {lanes} float32 lanes, prebuilt; there is no compiler for others"]
        assert np.abs(np.array(told["forces"]) - expected.forces).max() < AGREEMENT
        assert told["energy"] == pytest.approx(expected.energy, rel=1e-13)
        assert not list((tmp_path / "cache").rglob("*.so"))
