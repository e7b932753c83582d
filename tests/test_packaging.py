"""Wheel and editable install carry everything, and nothing from outside hides what is missing."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "core": "halocline",
    "plugins": "halocline/plugins",
    "backends": "halocline/backends",
    "zoo": "halocline/zoo",
}
NOT_SOURCE = shutil.ignore_patterns(".*_cache", ".venv", ".git", ".editable", "__pycache__", "dist", "demo-output")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the repository: an editable build lays links beside its sources."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "halocline", ignore=NOT_SOURCE)


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    """The sdist, and the wheel that was built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def borrowed(tmp_path_factory):
    """Everything installed here but Halocline, so that torch need not be installed anew."""
    folder = tmp_path_factory.mktemp("borrowed")
    for site in (Path(path) for path in sys.path if path.endswith("site-packages")):
        for path in site.iterdir():
            own = "halocline" in path.name
            if not own and path.suffix != ".pth" and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request, source, built, borrowed, tmp_path_factory):
    """The interpreter of a fresh environment in which Halocline is installed."""
    environment = tmp_path_factory.mktemp(request.param)
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(f"{borrowed}\n")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    what = [str(built[1])] if request.param == "wheel" else ["--editable", str(source)]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, *what]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env=clean_environment())
    return python


def clean_environment():
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def ask(python, script):
    """Run a script that prints JSON, away from the repository."""
    done = subprocess.run(
        [str(python), "-c", script],
        cwd=python.parent,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def packaged(source):
    """Where each file of the four folders belongs in the package."""
    return {
        f"{package}/{path.relative_to(source / folder).as_posix()}"
        for folder, package in PACKAGES.items()
        for path in (source / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_every_file_and_no_other(source, built):
    with zipfile.ZipFile(built[1]) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert inside == packaged(source)
    assert "halocline/py.typed" in inside


def test_sdist_holds_what_is_needed_to_build_and_test(source, built):
    with tarfile.open(built[0]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "hatch_build.py", "constraints.txt", "Makefile", "README.md", "LICENSE"}
    assert needed <= inside
    tests = {f"tests/{path.name}" for path in (source / "tests").glob("*.py")}
    assert tests <= inside


def test_import_comes_from_the_new_environment(installed, source):
    place = Path(ask(installed, "import halocline, json; print(json.dumps(halocline.__file__))"))
    assert place.is_relative_to(installed.parents[1]) or place.is_relative_to(source / ".editable")


def test_plugins_are_listed_by_the_program(installed, source):
    command = [str(installed.parent / "halocline"), "plugins", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=True)
    rows = json.loads(done.stdout)
    assert {row["status"] for row in rows} == {"ok"}
    declared = tomllib.loads((source / "pyproject.toml").read_text())["project"]["entry-points"]
    assert {row["entry_point"] for row in rows} == {"core", *declared["halocline.plugins"]}


def test_every_file_is_installed(installed, source):
    script = """
import halocline, json, pathlib
root = pathlib.Path(halocline.__file__).parent
files = [path for path in root.iterdir() if path.is_file()]
for folder in root.iterdir():  # one by one: rglob does not follow the links of an editable install
    files += [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
print(json.dumps([path.relative_to(root.parent).as_posix() for path in files]))
"""
    assert set(ask(installed, script)) == packaged(source)


def test_nothing_of_the_folders_leaks_under_their_own_names(installed):
    script = """
import importlib.util, json
print(json.dumps([n for n in ("core", "plugins", "backends", "zoo", "tests") if importlib.util.find_spec(n)]))
"""
    assert ask(installed, script) == []
