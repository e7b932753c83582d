"""A backbone is its config and its weights, and nothing else: built, saved and loaded again it is the same."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import halocline
from halocline.checkpoint import load_checkpoint
from halocline.errors import BackboneError, HaloclineError
from halocline.model import Backbone
from halocline.model.build import build_with_seed
from halocline.plugin import registry
from halocline.testing.comparison import require_identical
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.subject import Subject

#: A field that no config has.
UNKNOWN_FIELD = "no_such_field"


def check_config(subject: Subject) -> None:
    """The config survives JSON, builds the same backbone again, and refuses fields it does not know.

    Raises:
        Failure: one of these does not hold.
    """
    backbone = subject.backbone
    config = json.loads(json.dumps(backbone.config))
    if config != backbone.config:
        raise Failure("The config changes when written to JSON and read back; keep it to plain JSON values.")
    twin = build_with_seed(type(backbone), config)
    if (twin.config, twin.species, twin.hops) != (backbone.config, backbone.species, backbone.hops):
        raise Failure("from_config(config) gives another config, other species or another receptive field.")
    twin.load_state_dict(backbone.state_dict())
    molecule = subject.samples.molecule
    same = "after building again from config and weights"
    require_identical(same, Subject(twin).evaluate(molecule), subject.evaluate(molecule))
    _require_refusal(type(backbone), {**config, UNKNOWN_FIELD: 1})


def _require_refusal(kind: type[Backbone], config: dict[str, object]) -> None:
    try:
        build_with_seed(kind, config)
    except BackboneError:
        return
    raise Failure(f"A config with the unknown field {UNKNOWN_FIELD!r} is accepted; raise BackboneError.")


def read_back(kind: type[Backbone], path: Path) -> Backbone:
    """Build a backbone from a checkpoint, by its class rather than by its registered name."""
    checkpoint = load_checkpoint(path)
    backbone = build_with_seed(kind, checkpoint.config)
    backbone.load_state_dict(checkpoint.tensors)
    return backbone


def check_saving(subject: Subject) -> None:
    """Through a checkpoint and back, results are bit-equal.

    Raises:
        Failure: a bit differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        subject.potential().save(path)
        again = Subject(read_back(type(subject.backbone), path))
    atoms = subject.samples.crystal
    require_identical("after saving and reading back", again.evaluate(atoms), subject.evaluate(atoms))


def check_loading(subject: Subject) -> None:
    """``halocline.load`` finds the backbone by the name in the checkpoint and gives bit-equal results.

    Raises:
        Failure: the backbone is not found, or a bit differs.
        NotApplicable: an installed plugin brings another class under its name.
    """
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
