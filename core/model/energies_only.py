"""Models that say more of atoms than energies, and what is left of one that does not."""

from __future__ import annotations

from typing import Final

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
    alone = build_with_seed(type(backbone), backbone.energies_only_config())
    weights = backbone.energies_only_weights()
    if set(weights) != set(alone.state_dict()) or alone.outputs != (Output.ENERGIES,):
        raise BackboneError(
            f"energies_only_config and energies_only_weights of {backbone.name!r} do not agree, or leave more "
            "than energies."
        )
    alone.load_state_dict(weights)
    return alone.train(backbone.training)
