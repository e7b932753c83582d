"""A backbone is its config and its weights, and nothing else."""

from __future__ import annotations

import json

from halocline.errors import BackboneError
from halocline.model import Backbone
from halocline.model.build import build_with_seed
from halocline.testing.comparison import require_identical
from halocline.testing.report import Failure
from halocline.testing.subject import Subject

#: A field that no config has.
UNKNOWN_FIELD = "no_such_field"


def check_config(subject: Subject) -> None:
    """The config survives JSON, builds the same backbone again, and refuses fields it does not know."""
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
