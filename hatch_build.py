"""Lay out an editable install as a plain directory on the path, ``.editable/``; compile what a wheel carries.

The wheel takes its layout from ``[tool.hatch.build.targets.wheel.sources]``. Hatchling cannot
rewrite path prefixes for an editable install, so this hook mirrors the same table with relative
symlinks, which Python, type checkers and editors all follow.

With ``HALOCLINE_PREBUILD=1`` a wheel carries compiled libraries, too, for machines without a compiler. Generating
their sources takes Halocline's dependencies and ``g++``: build without isolation, in an environment that has both.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: ``1``, or names of libraries with commas between them: a wheel carries all that are shipped, or these.
PREBUILD = "HALOCLINE_PREBUILD"


class Build(BuildHookInterface):
    """Mirror the wheel's ``sources`` table as a tree of symlinks; compile libraries for a wheel if asked to."""

    _compiled: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Create the tree before an editable wheel is built, and libraries before one that is to carry them."""
        if version == "editable":
            tree = Path(self.root, ".editable")
            shutil.rmtree(tree, ignore_errors=True)
            self._lay(tree)
        elif asked := os.environ.get(PREBUILD, ""):
            self._prebuild([] if asked == "1" else asked.split(","), build_data)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled, once it is in the wheel."""
        del version, build_data, artifact_path
        if self._compiled is not None:
            shutil.rmtree(self._compiled)

    def _prebuild(self, names: list[str], build_data: dict[str, Any]) -> None:
        """Compile, from the sources that are packed, and make it a wheel of this platform, whatever the Python."""
        if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
            raise RuntimeError(f"{PREBUILD} is for Linux on x86-64; leave it out here.")
        self._compiled = Path(tempfile.mkdtemp(prefix="halocline-prebuild-"))
        tree, libraries = self._compiled / "tree", self._compiled / "libraries"
        libraries.mkdir()
        self._lay(tree)
        command = [sys.executable, "-m", "halocline.plugins.kernels.shipped", str(libraries), *names]
        environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"Libraries cannot be compiled for the wheel: {done.stderr.strip()[-2000:]}")
        build_data["force_include"][str(libraries)] = "halocline/native/prebuilt"
        build_data.update(pure_python=False, tag="py3-none-linux_x86_64")

    def _lay(self, tree: Path) -> None:
        root = Path(self.root)
        sources = {Path(source): Path(target) for source, target in self.build_config.sources.items()}
        for source, target in sources.items():
            if any(target in other.parents for other in sources.values()):
                # Other folders land inside this one, so its contents are linked one by one.
                for path in sorted((root / source).iterdir()):
                    if path.name != "__pycache__":
                        _link(tree / target / path.name, path)
            else:
                _link(tree / target, root / source)


def _link(at: Path, to: Path) -> None:
    """Make ``at`` a relative symlink to ``to``."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(os.path.relpath(to, at.parent), target_is_directory=to.is_dir())
