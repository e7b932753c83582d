"""What ``halocline plugins new`` makes is a plugin whose tests pass before anything was changed."""

import os
import re
import subprocess
import sys

import pytest

from halocline.cli.main import main
from halocline.cli.new_plugin import write_plugin
from halocline.errors import OutputError, UsageError


@pytest.mark.parametrize("name", ["", "A", "a_b", "../a", "a--b", "-a", "1a", "a/b", "a\n", "ä"])
def test_names_that_are_none(tmp_path, name):
    with pytest.raises(UsageError, match="cannot name a backbone"):
        write_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "halocline-mine").mkdir()
    with pytest.raises(OutputError, match=r"halocline-mine: File exists"):
        write_plugin("mine", tmp_path)


def test_every_placeholder_is_filled(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plugins", "new", "two-body"]) == 0
    assert "halocline-two-body" in capsys.readouterr().out
    files = [path for path in (tmp_path / "halocline-two-body").rglob("*") if path.is_file()]
    assert len(files) == 6
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not re.search("@[A-Z]+@", text)
        if path.suffix == ".py":
            compile(text, path.name, "exec")


@pytest.mark.slow  # the conformance suite, in a process of its own
def test_its_own_tests_pass(tmp_path):
    folder = write_plugin("two-body", tmp_path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "failed" not in done.stdout
