"""The model of `told_model` as a plugin, for processes that find models by name."""

import os
from pathlib import Path

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_backbones():
    return [Component("told", "told_model:Told", "for tests")]


def install_in(folder, monkeypatch):
    """Make a folder in which processes that are started from here find the plugin."""
    information = folder / "told_plugin-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: told-plugin\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[halocline.plugins]\ntold = told_plugin\n")
    path = [str(folder), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
