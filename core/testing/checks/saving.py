"""Saved and loaded, a backbone is the same to the bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import halocline
from halocline.errors import HaloclineError
from halocline.plugin import registry
from halocline.testing.comparison import require_identical
from halocline.testing.rebuild import read_back
from halocline.testing.report import NotApplicable
from halocline.testing.subject import Subject


def check_saving(subject: Subject) -> None:
    """Through a checkpoint and back, results are bit-equal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        subject.potential().save(path)
        again = Subject(read_back(type(subject.backbone), path))
    atoms = subject.samples.crystal
    require_identical("after saving and reading back", again.evaluate(atoms), subject.evaluate(atoms))


def check_loading(subject: Subject) -> None:
    """``halocline.load`` finds the backbone by the name in the checkpoint and gives bit-equal results."""
    backbone = subject.backbone
    if _registered(backbone.name) is not type(backbone):
        raise NotApplicable(f"An installed plugin brings another class under the name {backbone.name!r}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        subject.potential().save(path)
        loaded = Subject(halocline.load(path).backbone)
    atoms = subject.samples.crystal
    require_identical("after halocline.load", loaded.evaluate(atoms), subject.evaluate(atoms))


def _registered(name: str) -> object:
    """What the plugins bring under a name."""
    try:
        return registry().load("backbone", name)
    except HaloclineError as error:
        raise NotApplicable(f"halocline.load cannot find it. {error}") from error
