"""``--engine``: who moves the atoms, and what is said where an option is not its own or a package is missing."""

import sys

import pytest
from ase.build import bulk
from ase.io import write

from halocline.cli.engines import ENGINES
from halocline.cli.main import main


@pytest.fixture
def crystal(tmp_path):
    path = tmp_path / "argon.extxyz"
    write(path, bulk("Ar", "fcc", a=5.3, cubic=True))
    return path


def command(name, crystal, *options):
    """The command line that relaxes or moves a crystal for a single step."""
    out = str(crystal.with_name("out.extxyz" if name == "relax" else "out"))
    length = ["--max-steps", "1"] if name == "relax" else ["--steps", "1"]
    return [name, str(crystal), "-m", "lennard-jones-argon", *length, "-o", out, *options]


@pytest.mark.parametrize("name", ["relax", "md"])
def test_an_engine_that_is_not_installed_names_its_extra(crystal, monkeypatch, capsys, name):
    loaded = ("halocline.engines.torch_sim", "torch_sim.")
    for module in [each for each in sys.modules if each.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch_sim", None)
    assert main(command(name, crystal, "--engine", "torch-sim")) != 0
    assert "pip install 'halocline[torch-sim]'" in capsys.readouterr().err


def test_options_of_one_engine_mean_nothing_to_another(crystal, capsys):
    assert main(command("relax", crystal, "--batch-atoms", "4")) != 0
    assert "--batch-atoms means nothing to --engine ase" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["relax", "md"])
def test_engines_of_a_command_are_offered(crystal, capsys, name):
    assert main(command(name, crystal, "--engine", "abacus")) == 2
    offered = capsys.readouterr().err
    assert all(engine in offered for engine, commands in ENGINES.items() if name in commands)
