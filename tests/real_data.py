"""Real labelled structures, which live outside of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def real_data(name):
    """The folder of a data set; skips the test, by name, where it is absent."""
    root = os.environ.get("HALOCLINE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
    folder = Path(root) / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not here; HALOCLINE_TEST_DATA names the folder that holds it")
    return folder
