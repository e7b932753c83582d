"""What the README shows works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
    if line.startswith("halocline")
]


@pytest.fixture
def elsewhere(tmp_path):
    """A folder with the examples, so that nothing is written into the repository."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    return tmp_path


@pytest.mark.slow
def test_every_command_runs(elsewhere):
    assert len(COMMANDS) >= 5
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in COMMANDS:
        done = subprocess.run(command, shell=True, cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_the_python_example_runs(elsewhere):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_link_leads_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert targets
    missing = [target for target in targets if not (REPOSITORY / target).exists()]
    assert not missing
