"""Models with several heads, and what is left of one with a single head."""

from __future__ import annotations

from halocline.errors import BackboneError
from halocline.model.backbone import Backbone
from halocline.model.build import build_with_seed
from halocline.model.condition import HEAD


def head_names(backbone: Backbone) -> tuple[str, ...]:
    """The heads among which its callers choose; none of a model that has one."""
    return next((each.choices for each in backbone.conditions if each.name == HEAD), ())


def with_one_head(backbone: Backbone, head: str) -> Backbone:
    """A copy of a backbone that has one of its heads, and none to choose from; it gives what that head gives.

    Args:
        backbone: with several heads.
        head: one of `head_names`.

    Raises:
        BackboneError: the backbone does not say how its heads are separated, or not rightly.
    """
    single = build_with_seed(type(backbone), backbone.one_head_config(head))
    weights = backbone.one_head_weights(head)
    if set(weights) != set(single.state_dict()) or head_names(single):
        raise BackboneError(
            f"one_head_config and one_head_weights of {backbone.name!r} do not agree, or leave heads to choose."
        )
    single.load_state_dict(weights)
    return single.train(backbone.training)
