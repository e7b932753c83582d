"""A smaller model that lacks some of the channels of another one.

To remove a channel is to remove a row of every matrix that writes it and a column of every matrix that reads it;
what is left is a dense model of the same kind with a changed config. G. Fang et al., "DepGraph: Towards Any
Structural Pruning", CVPR 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from halocline.errors import UsageError
from halocline.model.backbone import Backbone
from halocline.model.build import build_with_weights


@final
class Width(NamedTuple):
    """A number of channels in the config.

    Attributes:
        value: what it is now.
        step: what a smaller one must be a multiple of, because some vectors have a share of it, such as half.
    """

    value: int
    step: int


def widths(backbone: Backbone) -> dict[str, Width]:
    """The entries of the config that count channels.

    Raises:
        UsageError: the backbone declares no channels.
    """
    if not backbone.channels:
        raise UsageError(
            f"{backbone.name!r} does not say which of its weights belong to one channel, so none can be removed; "
            "prune it by depth."
        )
    found: dict[str, Width] = {}
    for each in backbone.channels:
        value = int(backbone.config[each.width])
        step = found.get(each.width, Width(value, 1)).step
        found[each.width] = Width(value, math.lcm(step, value // math.gcd(each.size, value)))
    return found


def thinned(backbone: Backbone, kept: Sequence[Tensor]) -> Backbone:
    """A copy that has only some channels, in their order.

    Args:
        backbone: stays as it is.
        kept: for each of ``backbone.channels`` the numbers of those to keep, int64; as many as one width allows.

    Raises:
        BackboneError: the config without the others is refused, or the places that are declared do not fit it.
        UsageError: the backbone declares no channels.
    """
    config, before = dict(backbone.config), widths(backbone)
    for each, numbers in zip(backbone.channels, kept, strict=True):
        config[each.width] = len(numbers) * before[each.width].value // each.size
    weights = backbone.state_dict()
    for (name, dim), stays in _staying(backbone, kept).items():
        weights[name] = weights[name].index_select(dim, stays.nonzero().squeeze(1))
    return build_with_weights(
        backbone,
        config,
        weights,
        "what is left of its weights does not fit the config; declare every place of its channels",
    )


def _staying(backbone: Backbone, kept: Sequence[Tensor]) -> dict[tuple[str, int], Tensor]:
    """Of each dimension of a weight that has channels, which indices stay, (length,) bool."""
    weights, staying = backbone.state_dict(), dict[tuple[str, int], Tensor]()
    for each, numbers in zip(backbone.channels, kept, strict=True):
        for place in (*each.written, *each.read):
            everything = torch.ones(weights[place.weight].shape[place.dim], dtype=torch.bool)
            stays = staying.setdefault((place.weight, place.dim), everything)
            stays[place.first : place.first + each.size] = False
            stays[place.first + numbers] = True
    return staying
