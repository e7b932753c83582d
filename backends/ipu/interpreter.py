"""The Python interpreter that has the SDK: which one it is, and what is installed in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Final, Self, final

from halocline.errors import UsageError, unknown_name

#: Names the interpreter where no option does.
VARIABLE: Final = "HALOCLINE_IPU_PYTHON"

#: What programs can run on: PyTorch on the CPU, an IPU, or the SDK's model of one.
TARGETS: Final = ("cpu", "ipu", "ipu-model")

#: Seconds that an interpreter may take to start and look around.
PATIENCE: Final = 20.0

#: Looks for packages without importing them. What else start-up files print comes before the last line.
_QUESTION: Final = """
import json, sys
from importlib import metadata, util
versions = {"python": sys.version.split()[0]}
for name in ("numpy", "torch", "poptorch"):
    if util.find_spec(name):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "of unknown version"
print(json.dumps(versions))
"""


@final
@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter that can be started.

    Attributes:
        path: of its executable.
        versions: of Python, and of numpy, torch and poptorch where they are installed.
    """

    path: str
    versions: dict[str, str]

    @classmethod
    def find(cls, path: str = "") -> Self:
        """Ask an interpreter what it has.

        Args:
            path: of its executable; by default that of `VARIABLE`, or else the running one.

        Raises:
            UsageError: it cannot be started.
        """
        path = path or os.environ.get(VARIABLE, "") or sys.executable
        try:
            process = subprocess.run(
                [path, "-c", _QUESTION],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
                timeout=PATIENCE,
            )
            return cls(path, json.loads(process.stdout.splitlines()[-1]))
        except (OSError, subprocess.SubprocessError, LookupError, ValueError) as error:
            raise UsageError(
                f"The interpreter {path!r} does not tell its packages ({error}); name that of the Poplar SDK with "
                f"{VARIABLE} or ipu:python=PATH."
            ) from error

    @classmethod
    def for_target(cls, target: str, path: str = "") -> Self:
        """Find an interpreter that can run programs there.

        Raises:
            UsageError: there is no such target, or the interpreter lacks what it needs.
        """
        if target not in TARGETS:
            raise unknown_name("target of the ipu backend", target, TARGETS)
        found = cls.find(path)
        if problem := found.problem(target):
            raise UsageError(problem)
        return found

    def problem(self, target: str) -> str:
        """Why programs cannot run here, and what to do, in one sentence; empty if they can.

        Args:
            target: ``cpu``, ``ipu`` or ``ipu-model``.
        """
        needed = ("numpy", "torch") if target == "cpu" else ("numpy", "torch", "poptorch")
        missing = [name for name in needed if name not in self.versions]
        if missing == ["poptorch"]:
            return (
                f"PopTorch is missing in {self.path}: install Graphcore's Poplar SDK 3.3 or 3.4 and name its "
                f"Python by {VARIABLE}, or say ipu:target=cpu to run the same program without an IPU."
            )
        if missing:
            names = " and ".join(missing)
            return f"{self.path} lacks {names}; install what is missing, or name another interpreter."
        return ""
