"""The C++ compiler that compiled programs are made with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache


def find_compiler() -> str | None:
    """The C++ compiler that torch would call: ``CXX``, or the usual one of the system; None if it is not there."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def compiler_version() -> str:
    """How the C++ compiler introduces itself; empty if there is none."""
    compiler = find_compiler()
    return _introduction(compiler) if compiler else ""


@cache
def _introduction(compiler: str) -> str:
    answer = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.partition("\n")[0]
