"""Build a backbone again: from a config, from a file, or pruned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from halocline.checkpoint import load_checkpoint
from halocline.model import Backbone


def build(kind: type[Backbone], config: Mapping[str, Any]) -> Backbone:
    """Build with fresh weights, without touching the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        return kind.from_config(config)


def read_back(kind: type[Backbone], path: Path) -> Backbone:
    """Build from a checkpoint, by class rather than by registered name."""
    checkpoint = load_checkpoint(path)
    backbone = build(kind, checkpoint.config)
    backbone.load_state_dict(checkpoint.tensors)
    return backbone


def pruned(backbone: Backbone, layers: int) -> Backbone:
    """The first layers of a backbone and the readouts that belong to them, by its own account."""
    smaller = build(type(backbone), backbone.pruned_config(layers))
    smaller.load_state_dict(backbone.pruned_weights(layers))
    return smaller
