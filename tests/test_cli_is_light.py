"""Asking the command line for help or for plugins loads no heavy library."""

import json
import subprocess
import sys

import pytest
from ase.build import molecule

from halocline.plugin import registry

HEAVY = {"torch", "numpy", "ase", "scipy", "matplotlib", "safetensors", "lightning_fabric"}
COMMANDS = sorted(registry().names("command"))
SCRIPT = """
import json, sys
from halocline.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as leaving:
    status = leaving.code
sys.stderr.write("\\n" + json.dumps({"status": status, "modules": sorted(sys.modules)}))
"""


def call(*arguments, cwd=None):
    """Run the command line; return its standard output and the modules it had loaded."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd)
    report = json.loads(done.stderr.splitlines()[-1])
    assert report["status"] == 0
    return done.stdout, set(report["modules"])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--help",),
        ("--version",),
        ("plugins",),
        ("plugins", "--json"),
        *((c, "--help") for c in COMMANDS),
    ],
    ids=" ".join,
)
def test_no_heavy_library_is_loaded(arguments):
    output, modules = call(*arguments)
    assert output
    assert not HEAVY & modules


def test_an_evaluation_loads_nothing_that_it_does_not_use(tmp_path):
    """Derivatives by torch's own front door import sympy; the rest is for tables, plots and compilers."""
    molecule("H2O").write(tmp_path / "water.xyz")
    _, modules = call("run", "water.xyz", "--json", cwd=tmp_path)
    assert not {"sympy", "scipy.interpolate", "matplotlib", "torch._dynamo"} & modules


def test_help_lists_every_command_with_its_summary():
    output, _ = call("--help")
    for name, command in registry().names("command").items():
        assert any(line.split() == [name, *command.summary.split()] for line in output.splitlines()), name


def test_bare_call_prints_the_help():
    assert call()[0] == call("--help")[0]


def test_plugins_lists_every_component_of_the_box():
    rows = json.loads(call("plugins", "--json")[0])
    listed = {(row["kind"], row["name"]) for row in rows if row["distribution"] == "halocline"}
    assert {("backbone", "schnet"), ("executor", "torch"), ("zoo", "zoo"), ("command", "run")} <= listed
    assert {row["status"] for row in rows if row["distribution"] == "halocline"} == {"ok"}
