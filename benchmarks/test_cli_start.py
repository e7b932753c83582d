"""Seconds from calling the program to its answer; the budget is 0.3 s (median of 5, warm)."""

import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sysconfig.get_path("scripts")) / "halocline"


@pytest.mark.parametrize("arguments", [("--help",), ("plugins",), ("plugins", "--json")], ids=" ".join)
def test_start(benchmark: Any, arguments: tuple[str, ...]) -> None:
    """Time one call of the installed program."""
    benchmark.pedantic(
        subprocess.run,
        args=([str(PROGRAM), *arguments],),
        kwargs={"check": True, "capture_output": True},
        rounds=5,
        warmup_rounds=1,
    )
