"""Plugins of strangers are found; each broken one is reported and hurts nobody else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent / "plugins"
MAIN = "from halocline.cli.main import main; raise SystemExit(main())"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which pip has installed every distribution of ``tests/plugins``."""
    # Built from copies: a build may leave things beside its sources.
    sources = shutil.copytree(PLUGINS, tmp_path_factory.mktemp("sources") / "plugins")
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options]
    subprocess.run([*command, *map(str, sorted(sources.iterdir()))], check=True, stdin=subprocess.DEVNULL)
    return target


@pytest.fixture(scope="module")
def only(site, tmp_path_factory):
    """Make a folder that holds only some of the installed distributions."""

    def only(*distributions):
        folder = tmp_path_factory.mktemp("some")
        for distribution in distributions:
            for path in site.glob(distribution.replace("-", "_") + "*"):
                (folder / path.name).symlink_to(path)
        return folder

    return only


def python(site, script, *arguments, **environment):
    """Run a script in a fresh process that sees the plugins in ``site``."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": str(site)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def listing(site, **environment):
    """What ``halocline plugins --json`` says of strangers: rows by distribution and name."""
    done = python(site, MAIN, "plugins", "--json", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = json.loads(done.stdout)
    return {(r["distribution"], r["name"]): r for r in rows if r["distribution"] != "halocline"}


@pytest.fixture(scope="module")
def rows(site):
    return listing(site)


BROKEN = {
    "halocline-bad-import": ("importing halocline_bad_import failed", "a_module_that_nobody_has"),
    "halocline-bad-exit": ("SystemExit: this plugin needs a licence",),
    "halocline-bad-hook": ("there is no hook halocline_backbone",),
    "halocline-bad-api": ("plugin API 3", "plugin API 2", "halocline is the older one"),
    "halocline-bad-return": ("halocline_backbones returned ['package.module:Backbone']",),
}


@pytest.mark.parametrize("distribution", BROKEN)
def test_broken_plugin_is_reported_with_reason_and_fix(rows, distribution):
    row = rows[distribution, "plugin"]
    assert row["status"] == "failed"
    assert row["version"] == "0.1"
    for words in BROKEN[distribution]:
        assert words in row["reason"]
    assert row["fix"]


def test_misspelt_hook_is_answered_with_the_right_one(rows):
    assert rows["halocline-bad-hook", "plugin"]["fix"] == "Did you mean halocline_backbones?"


def test_api_version_is_checked_before_any_hook_is_called(only):
    done = python(only("halocline-bad-api"), MAIN, "plugins", "--json")
    assert "called" not in done.stderr
    assert [row["api_version"] for row in json.loads(done.stdout)][-1] == 3


def test_good_plugin_is_unharmed_by_broken_ones(only, rows):
    """It looks the same in the crowd as it does alone, but for the clash over its name."""
    alone = listing(only("halocline-harmonic"))["halocline-harmonic", "harmonic"]
    assert (alone["status"], alone["kind"], alone["version"]) == ("ok", "backbone", "1.2.0")
    crowd = rows["halocline-harmonic", "harmonic"]
    same = set(alone) - {"status", "reason", "fix"}
    assert {key: crowd[key] for key in same} == {key: alone[key] for key in same}


def test_plugin_that_only_the_conformance_suite_can_refuse_is_listed_as_good(rows):
    assert rows["halocline-bad-forces", "wrong-forces"]["status"] == "ok"


@pytest.mark.parametrize("name", ["schnet", "harmonic", "run"])
def test_clash_is_reported_with_both_owners(rows, name):
    row = rows["halocline-bad-clash", name]
    owner = "halocline-harmonic" if name == "harmonic" else "halocline"
    assert row["status"] == "clash"
    assert f"{owner}/{name}" in row["reason"]
    assert f"halocline-bad-clash/{name}" in row["fix"]


FIND = """
import sys
from halocline.errors import HaloclineError
from halocline.plugin import registry
try:
    print(registry().find("backbone", sys.argv[1]).target)
except HaloclineError as error:
    print(error.exit_status, error)
"""


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("schnet", "halocline.plugins.backbones.schnet:SchNet"),
        ("halocline/schnet", "halocline.plugins.backbones.schnet:SchNet"),
        ("halocline-bad-clash/schnet", "halocline_bad_clash:Other"),
        ("halocline-harmonic/harmonic", "halocline_harmonic.backbone:Harmonic"),
        (
            "harmonic",
            "2 The backbone name 'harmonic' is ambiguous; "
            "say halocline-bad-clash/harmonic or halocline-harmonic/harmonic.",
        ),
        ("schne", "2 There is no backbone named 'schne'; did you mean 'schnet' or 'chgnet'?"),
    ],
)
def test_name_selects_one_component_or_says_why_not(site, name, answer):
    done = python(site, FIND, name)
    assert done.stdout.strip() == answer


def test_builtin_command_keeps_its_name(site):
    output = python(site, MAIN, "--help").stdout
    assert "energies, forces and stress of structures" in output
    assert "halocline-bad-clash/run" in output


def test_unusable_target_is_an_error_that_names_it(only):
    script = "from halocline.plugin import registry\nregistry().load('command', 'halocline-bad-clash/run')"
    done = python(only("halocline-bad-clash"), script)
    assert "PluginError: The command halocline-bad-clash/run cannot be loaded" in done.stderr
    assert "has no attribute 'configure'" in done.stderr


def test_change_of_the_process_is_put_back_and_reported(only):
    folder = only("halocline-bad-process")
    row = listing(folder)["halocline-bad-process", "rude"]
    assert row["status"] == "warned"
    assert "the environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" in row["reason"]
    script = """
import os
from halocline.plugin import registry
registry().find("pruner", "rude")
print(os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"))
"""
    assert python(folder, script).stdout == "None\n"


def test_other_commands_warn_in_one_line(site, only):
    errors = python(site, MAIN, "--help").stderr
    assert errors.count("\n") == 1
    assert "see 'halocline plugins'" in errors
    for distribution in [*BROKEN, "halocline-bad-process"]:
        assert distribution in errors
    assert python(only("halocline-harmonic"), MAIN, "--help").stderr == ""


@pytest.mark.parametrize("name", ["plugin", "halocline-bad-exit", "halocline-bad-exit:plugin"])
def test_disabled_plugin_is_not_imported(only, name):
    folder = only("halocline-bad-exit", "halocline-harmonic")
    found = listing(folder, HALOCLINE_DISABLE_PLUGINS=f"another, {name}")
    assert found["halocline-bad-exit", "plugin"]["status"] == "disabled"
    assert found["halocline-harmonic", "harmonic"]["status"] == "ok"


def test_core_commands_cannot_be_disabled(only):
    done = python(only(), MAIN, "plugins", HALOCLINE_DISABLE_PLUGINS="core,halocline")
    assert done.returncode == 0
    assert "disabled" in done.stdout


def test_errors_are_raised_where_that_is_asked_for(only):
    done = python(only("halocline-bad-hook"), MAIN, "plugins", HALOCLINE_PLUGIN_ERRORS="raise")
    assert done.returncode == 1
    assert done.stderr.startswith("halocline: Plugin halocline-bad-hook:plugin: there is no hook")


def test_unknown_way_to_treat_errors_is_refused(only):
    done = python(only(), MAIN, "plugins", HALOCLINE_PLUGIN_ERRORS="rise")
    assert (done.returncode, done.stdout) == (2, "")
    assert "HALOCLINE_PLUGIN_ERRORS is 'rise'" in done.stderr
