"""A plugin whose backends go wrong in every way; see `fake_components` for what they do."""

import os
import sys
from pathlib import Path

from halocline.plugin import Component, hookimpl

halocline_api = 2

EXECUTORS = {
    "sound": "SoundExecutor",
    "absent": "AbsentExecutor",
    "wrong": "WrongExecutor",
    "racing": "RacingExecutor",
    "silent": "NotANumberExecutor",
    "crashing": "CrashingExecutor",
    "hanging": "HangingExecutor",
    "leaving": "LeavingExecutor",
    "raising": "RaisingExecutor",
    "unloadable": "NoSuchExecutor",
}


@hookimpl
def halocline_executors():
    return [Component(name, f"fake_components:{target}", "for tests") for name, target in EXECUTORS.items()]


@hookimpl
def halocline_exporters():
    return [
        Component("text", "fake_components:TextExporter", "for tests"),
        Component("absent", "fake_components:AbsentExporter", "for tests"),
    ]


def install(folder):
    """Make a folder in which this plugin is found; return the environment of processes that find it."""
    information = folder / "fake_backends-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-backends\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[halocline.plugins]\nfakes = fake_backends\n")
    path = os.pathsep.join([str(folder), str(Path(__file__).parent)])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


MAIN = [sys.executable, "-c", "from halocline.cli.main import main; raise SystemExit(main())"]
