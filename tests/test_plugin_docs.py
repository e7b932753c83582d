"""The plugins that the documentation shows work as they are shown."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WATER = str(ROOT / "examples" / "water.extxyz")
MAIN = "from halocline.cli.main import main; raise SystemExit(main())"


def files_of(page):
    """The files that a page shows, by name."""
    text = (ROOT / "docs" / page).read_text()
    return dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install the plugin of a page where processes that are started from here find it."""

    def install(page, package):
        source, target = tmp_path / "source", tmp_path / "site"
        for name, text in {**files_of(page), f"{package}/__init__.py": ""}.items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))

    return install


def halocline(*arguments, status=0):
    """What a command prints."""
    done = subprocess.run([sys.executable, "-c", MAIN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def energy(*options):
    """Of water, with the model in the box."""
    answer = json.loads(halocline("run", WATER, "-m", "water-revpbe0d3-schnet", "--json", *options))
    return answer[0]["energy"]


def test_plugin_of_the_docs_is_found(install):
    assert set(files_of("plugins.md")) == {"pyproject.toml", "halocline_harmonic/registration.py"}
    install("plugins.md", "halocline_harmonic")
    rows = json.loads(halocline("plugins", "--json"))
    (row,) = [row for row in rows if row["distribution"] == "halocline-harmonic"]
    assert (row["name"], row["kind"], row["status"], row["version"]) == ("harmonic", "backbone", "ok", "1.2.0")


@pytest.mark.slow
@pytest.mark.exhaustive  # starts the program for each way to select it, and runs the conformance suite
def test_pruner_of_the_docs_prunes(install):
    install("pruners.md", "halocline_share")
    expected = {layers: energy("--prune", str(layers)) for layers in (1, 2)}
    assert expected[1] != expected[2]
    assert energy("--prune", "depth:layers=2") == energy("--prune", "halocline/depth:layers=2") == expected[2]
    assert energy("--prune", "share:keep=0.01") == expected[1]
    assert energy("--prune", "halocline-share/share:keep=1.0") == energy()
    script = (
        "import halocline; name, prune = 'water-revpbe0d3-schnet', 'halocline-share/share:keep=0.01';"
        "model = halocline.load(name, prune=prune);"
        "print(len(model.backbone.layers))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert "share" in halocline("run", "--help")
    assert "must be above 0" in halocline("run", WATER, "--prune", "share:keep=2", status=2)
    assert "must be a number" in halocline("run", WATER, "--prune", "share:keep=half", status=2)
    assert "did you mean 'keep'" in halocline("run", WATER, "--prune", "share:kept=0.5", status=2)
    answer = json.loads(halocline("plugins", "check", "halocline-share", "--json"))
    assert {result["status"] for result in answer["results"]} == {"passed"}


@pytest.mark.slow  # as above
def test_partitioner_of_the_docs_divides(install):
    install("partitioners.md", "halocline_shells")
    whole = energy("--dtype", "float64")
    options = ("--dtype", "float64", "--partition")
    for partition in ("shells:3", "halocline-shells/shells:2,metric=box"):
        assert energy(*options, partition) == pytest.approx(whole, abs=1e-9)
    assert energy("--dtype", "float64", "--memory", "8GiB", "--partition", "shells:metric=box") == pytest.approx(
        whole, abs=1e-9
    )
    assert "sphere or box" in halocline("run", WATER, "--partition", "shells:2,metric=cube", status=2)
    answer = json.loads(halocline("plugins", "check", "halocline-shells", "--json"))
    assert {result["status"] for result in answer["results"]} == {"passed"}


@pytest.mark.parametrize("page", ["plugins.md", "pruners.md", "partitioners.md"])
def test_page_is_well_set(page):
    """Python in it compiles."""
    for name, text in files_of(page).items():
        if name.endswith(".py"):
            compile(textwrap.dedent(text), name, "exec")
