"""Pruned to any depth, a backbone is a real model."""

from __future__ import annotations

from halocline.testing.checks.config import check_config
from halocline.testing.checks.forces import check_forces
from halocline.testing.checks.parts import check_parts
from halocline.testing.checks.saving import check_saving
from halocline.testing.comparison import require_identical
from halocline.testing.rebuild import pruned
from halocline.testing.report import Failure
from halocline.testing.runner import Check
from halocline.testing.subject import Subject

#: What every pruned model must still do.
STILL: dict[str, Check[Subject]] = {
    "config": check_config,
    "forces": check_forces,
    "parts": check_parts,
    "saving": check_saving,
}


def check_pruning(subject: Subject) -> None:
    """Each depth has fewer layers and hops, right forces and parts, and saves; full depth changes nothing."""
    backbone = subject.backbone
    depth = len(backbone.layers)
    atoms = subject.samples.molecule
    uncut = Subject(pruned(backbone, depth))
    require_identical("after pruning to full depth", uncut.evaluate(atoms), subject.evaluate(atoms))
    hops = backbone.hops
    for layers in range(depth - 1, 0, -1):
        smaller = pruned(backbone, layers)
        dropped = sum(stage.spec.hops for _, stage in backbone.stages()) - sum(
            stage.spec.hops for _, stage in smaller.stages()
        )
        if len(smaller.layers) != layers or smaller.hops > hops or (dropped > 0 and smaller.hops == hops):
            raise Failure(
                f"Pruned to {layers} layers it has {len(smaller.layers)}, and {smaller.hops} of {hops} hops."
            )
        hops = smaller.hops
        _check_still_real(Subject(smaller), layers)


def _check_still_real(subject: Subject, layers: int) -> None:
    for check in STILL.values():
        try:
            check(subject)
        except Failure as failure:
            raise Failure(f"Pruned to {layers} layers: {failure}") from failure
