"""Fixtures for dynamics; `argon.py` is a program as well, so it is loaded by its path."""

import importlib.util
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).with_name("argon.py")


@pytest.fixture(scope="session")
def argon():
    specification = importlib.util.spec_from_file_location("argon", _PROGRAM)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
