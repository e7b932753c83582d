"""Lay out ``.editable/`` so that an editable install is a plain directory on the path.

The wheel takes its layout from ``[tool.hatch.build.targets.wheel.sources]``. Hatchling cannot
rewrite path prefixes for an editable install, so this hook mirrors the same table with relative
symlinks, which Python, type checkers and editors all follow.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EditableLayout(BuildHookInterface):
    """Mirror the wheel's ``sources`` table as a tree of symlinks."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Create the tree before an editable wheel is built."""
        del build_data
        if version != "editable":
            return
        root, tree = Path(self.root), Path(self.root, ".editable")
        shutil.rmtree(tree, ignore_errors=True)
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
