"""Pruned to any depth, or without some of its channels, a backbone is a real model."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from halocline.model import Backbone, Stage
from halocline.model.build import build_with_seed
from halocline.model.channels import Channels
from halocline.model.thinning import Width, thinned, widths
from halocline.testing.checks.derivatives import check_forces
from halocline.testing.checks.locality import check_parts
from halocline.testing.checks.saving import check_config, check_saving
from halocline.testing.comparison import require_identical, require_same
from halocline.testing.report import Check, Failure, NotApplicable
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
        _check_still_real(Subject(smaller), f"Pruned to {layers} layers")


def _hops(backbone: Backbone, layer: int) -> int:
    stage = backbone.layers[layer]
    assert isinstance(stage, Stage)
    return stage.spec.hops


def _check_size(smaller: Backbone, layers: int, most: int) -> None:
    if len(smaller.layers) != layers:
        raise Failure(f"Pruned to {layers} layers it has {len(smaller.layers)}.")
    if smaller.hops > most:
        raise Failure(f"Pruned to {layers} layers it reaches {smaller.hops} hops, which is more than {most}.")


def _check_still_real(subject: Subject, what: str) -> None:
    for check in STILL.values():
        try:
            check(subject)
        except Failure as failure:
            raise Failure(f"{what}: {failure}") from failure


def check_channels(subject: Subject) -> None:
    """Channels that nothing reads can be removed, and nothing changes; what is left is a real model.

    Raises:
        NotApplicable: the backbone declares none.
        Failure: one of these does not hold.
    """
    backbone = subject.backbone
    if not backbone.channels:
        raise NotApplicable("No channels are declared, so no pruner narrows this backbone.")
    kept = [_half(each, widths(backbone)[each.width]) for each in backbone.channels]
    unread = _unread(backbone, kept)
    smaller = Subject(thinned(unread, kept))
    atoms = subject.samples.molecule
    require_same("without channels that nothing reads", smaller.evaluate(atoms), Subject(unread).evaluate(atoms))
    _check_still_real(smaller, "With half the channels")


def _half(channels: Channels, width: Width) -> Tensor:
    """The numbers of every other channel, as many as the width allows; the first ones are easy to hit."""
    left = channels.size * width.step * max(1, width.value // width.step // 2) // width.value
    return torch.arange(channels.size - 1, -1, -2)[:left].flip(0)


def _unread(backbone: Backbone, kept: Sequence[Tensor]) -> Backbone:
    """A copy in which nothing reads the channels that are not kept."""
    copied = copy.deepcopy(backbone)
    weights = copied.state_dict()
    for each, numbers in zip(copied.channels, kept, strict=True):
        gone = [number for number in range(each.size) if number not in numbers.tolist()]
        for place in each.read:
            along = weights[place.weight].movedim(place.dim, 0)
            along[[place.first + number for number in gone]] = 0.0
    copied.load_state_dict(weights)
    return copied
