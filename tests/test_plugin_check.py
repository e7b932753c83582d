"""`halocline plugins check` judges strangers' plugins by the conformance suite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from halocline.errors import UsageError
from halocline.plugin import registry
from halocline.testing import check_plugin

PLUGINS = Path(__file__).parent / "plugins"


def with_plugins(*names):
    """Let the fixture ``site`` hold these distributions."""
    return pytest.mark.parametrize("site", [names], indirect=True, ids=["+".join(names)])


@pytest.fixture
def site(request, tmp_path):
    """A folder with what an installation of some test plugins would leave."""
    for source in (PLUGINS / name for name in request.param):
        project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
        folder = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        folder.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (folder / "METADATA").write_text(metadata)
        lines = [f"{name} = {value}" for name, value in project["entry-points"]["halocline.plugins"].items()]
        (folder / "entry_points.txt").write_text("\n".join(["[halocline.plugins]", *lines]))
        for path in source.iterdir():
            if path.suffix == ".py" or path.is_dir():
                (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture
def installed(site, monkeypatch):
    """The test plugins, found in this process."""
    monkeypatch.syspath_prepend(site)
    registry.cache_clear()
    yield
    registry.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("halocline_harmonic", "halocline_bad"))]:
        del sys.modules[name]


@with_plugins("halocline-harmonic")
@pytest.mark.usefixtures("installed")
def test_good_plugin_passes_every_check():
    report = check_plugin("halocline-harmonic")
    assert report.ok
    not_passed = [(r.check, r.status) for r in report.results if r.status != "passed"]
    assert not_passed == [("channels", "skipped"), ("elements", "skipped")]  # for reasons that are given
    assert {r.component for r in report.results[1:]} == {"halocline-harmonic/harmonic"}


@with_plugins("halocline-harmonic", "halocline-bad-forces")
@pytest.mark.usefixtures("installed")
def test_wrong_forces_are_found_and_nothing_else():
    report = check_plugin("wrong-forces")
    assert not report.ok
    assert [r.check for r in report.results if r.status == "failed"] == ["forces", "stress"]


@with_plugins("halocline-bad-import")
@pytest.mark.usefixtures("installed")
def test_plugin_that_cannot_be_imported_fails_with_the_reason():
    report = check_plugin("halocline-bad-import")
    assert [(r.check, r.status) for r in report.results] == [("discovery", "failed")]
    assert "ModuleNotFoundError" in report.results[0].message


@with_plugins("halocline-harmonic", "halocline-bad-clash")
@pytest.mark.usefixtures("installed")
def test_qualified_name_selects_one_of_two_rivals():
    components = {r.component for r in check_plugin("halocline-harmonic/harmonic").results}
    assert components == {"halocline-harmonic/harmonic"}
    rivals = {r.component for r in check_plugin("harmonic").results}
    assert rivals == {"halocline-harmonic/harmonic", "halocline-bad-clash/harmonic"}


def test_unknown_name_is_answered_with_near_ones():
    with pytest.raises(UsageError, match="did you mean 'schnet'"):
        check_plugin("schnett")


@with_plugins("halocline-bad-forces")
def test_command_line_reports_and_leaves_with_the_verdict(site):
    script = "import sys; from halocline.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "plugins", "check", "wrong-forces", "--json"],
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert {r["check"] for r in answer["results"] if r["status"] == "failed"} == {"forces", "stress"}
