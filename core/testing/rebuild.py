"""Build a backbone again: from a config, from a file, or pruned."""

from __future__ import annotations

from pathlib import Path

from halocline.checkpoint import load_checkpoint
from halocline.model import Backbone
from halocline.model.build import build_with_seed


def read_back(kind: type[Backbone], path: Path) -> Backbone:
    """Build from a checkpoint, by class rather than by registered name."""
    checkpoint = load_checkpoint(path)
    backbone = build_with_seed(kind, checkpoint.config)
    backbone.load_state_dict(checkpoint.tensors)
    return backbone


def pruned(backbone: Backbone, layers: int) -> Backbone:
    """The first layers of a backbone and the readouts that belong to them, by its own account."""
    smaller = build_with_seed(type(backbone), backbone.pruned_config(layers))
    smaller.load_state_dict(backbone.pruned_weights(layers))
    return smaller
