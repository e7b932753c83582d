"""Pruned to any depth, a backbone is a real model."""

from __future__ import annotations

from halocline.model import Backbone, Stage
from halocline.model.build import build_with_seed
from halocline.testing.checks.derivatives import check_forces
from halocline.testing.checks.locality import check_parts
from halocline.testing.checks.saving import check_config, check_saving
from halocline.testing.comparison import require_identical
from halocline.testing.report import Check, Failure
from halocline.testing.subject import Subject

#: What every pruned model must still do.
STILL: dict[str, Check[Subject]] = {
    "config": check_config,
    "forces": check_forces,
    "parts": check_parts,
    "saving": check_saving,
}


def pruned(backbone: Backbone, layers: int) -> Backbone:
    """The first layers of a backbone and the readouts that belong to them, by its own account."""
    smaller = build_with_seed(type(backbone), backbone.pruned_config(layers))
    smaller.load_state_dict(backbone.pruned_weights(layers))
    return smaller


def check_pruning(subject: Subject) -> None:
    """Each depth has fewer layers and hops, right forces and parts, and saves; full depth changes nothing."""
    backbone = subject.backbone
    depth = len(backbone.layers)
    atoms = subject.samples.molecule
    uncut = Subject(pruned(backbone, depth))
    require_identical("after pruning to full depth", uncut.evaluate(atoms), subject.evaluate(atoms))
    most = backbone.hops
    for layers in range(depth - 1, 0, -1):
        smaller = pruned(backbone, layers)
        _check_size(smaller, layers, most - min(1, _hops(backbone, layers)))
        most = smaller.hops
        _check_still_real(Subject(smaller), layers)


def _hops(backbone: Backbone, layer: int) -> int:
    stage = backbone.layers[layer]
    assert isinstance(stage, Stage)
    return stage.spec.hops


def _check_size(smaller: Backbone, layers: int, most: int) -> None:
    if len(smaller.layers) != layers:
        raise Failure(f"Pruned to {layers} layers it has {len(smaller.layers)}.")
    if smaller.hops > most:
        raise Failure(f"Pruned to {layers} layers it reaches {smaller.hops} hops, which is more than {most}.")


def _check_still_real(subject: Subject, layers: int) -> None:
    for check in STILL.values():
        try:
            check(subject)
        except Failure as failure:
            raise Failure(f"Pruned to {layers} layers: {failure}") from failure
