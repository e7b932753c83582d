"""Models that say more of atoms than energies, and what is left of one that does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from halocline.errors import BackboneError
from halocline.model.backbone import Backbone, Output
from halocline.model.build import build_with_seed

#: What can be left out: energies and forces do not follow from it.
_ASIDE: Final = {Output.MAGMOMS, Output.CHARGES}


def left_out(backbone: Backbone) -> tuple[Output, ...]:
    """What `with_energies_only` leaves out; nothing of a model whose forces are no derivative of its energy."""
    more = tuple(output for output in backbone.outputs if output is not Output.ENERGIES)
    return more if set(more) <= _ASIDE else ()


def with_energies_only(backbone: Backbone) -> Backbone:
    """A copy of a backbone with the same energies that says nothing beside them; itself if that is so already.

    Args:
        backbone: whose `left_out` is left out.

    Raises:
        BackboneError: the backbone does not say how, or not rightly.
    """
    if not left_out(backbone):
        return backbone
    config, weights = backbone.energies_only_config(), backbone.energies_only_weights()
    return remade(backbone, config, weights, "energies_only")


def remade(backbone: Backbone, config: Mapping[str, Any], weights: Mapping[str, Tensor], name: str) -> Backbone:
    """A backbone of the same kind that says energies alone.

    Args:
        backbone: that it is made of.
        config: of the new one.
        weights: that it starts from, all of its own.
        name: what the methods of the backbone that gave both begin with, for messages.

    Raises:
        BackboneError: config and weights do not agree, or leave more than energies.
    """
    made = build_with_seed(type(backbone), config)
    if set(weights) != set(made.state_dict()) or made.outputs != (Output.ENERGIES,):
        raise BackboneError(
            f"{name}_config and {name}_weights of {backbone.name!r} do not agree, or leave more than energies."
        )
    made.load_state_dict(weights)
    return made.train(backbone.training)
