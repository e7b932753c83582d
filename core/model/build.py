"""Build a backbone by name without touching the caller's random state."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from halocline.context import in_evaluation_context
from halocline.errors import BackboneError
from halocline.model.backbone import Backbone
from halocline.plugin import registry
from halocline.plugin.process_state import one_at_a_time


def build_backbone(
    name: str, config: Mapping[str, Any], seed: int = 0, within: AbstractContextManager[None] | None = None
) -> Backbone:
    """Find the backbone among the plugins and build it with weights that follow from ``seed``.

    Args:
        name: among the plugins.
        config: of the backbone.
        seed: of its weights.
        within: to be entered around its construction and nothing else.

    Raises:
        UsageError: no plugin brings a backbone of this name.
        PluginError: its plugin cannot be imported.
        BackboneError: the config does not fit, or the plugin's class breaks the contract.
    """
    kind = registry().load("backbone", name)
    if not (isinstance(kind, type) and issubclass(kind, Backbone)):
        raise BackboneError(f"The plugin's backbone {name!r} is not a subclass of halocline.model.Backbone.")
    if kind.name != name.rpartition("/")[2]:
        raise BackboneError(
            f"The backbone registered as {name!r} calls itself {kind.name!r}; its checkpoints would be lost. "
            "Let its plugin register it under its own name."
        )
    return build_with_seed(kind, config, seed, within)


@in_evaluation_context
def build_with_seed(
    kind: type[Backbone],
    config: Mapping[str, Any],
    seed: int = 0,
    within: AbstractContextManager[None] | None = None,
) -> Backbone:
    """Build a backbone class with weights that follow from ``seed``; the caller's random state is put back.

    Args:
        kind: the class.
        config: of the backbone.
        seed: of its weights.
        within: entered inside the evaluation context, which leaves everything that was entered before it.

    Raises:
        BackboneError: the config does not fit.
    """
    generator = torch.default_generator  # of this process, so threads take turns; those of GPUs are not touched
    with one_at_a_time, within or nullcontext():
        before = generator.get_state()
        try:
            generator.manual_seed(seed)
            return kind.from_config(config)
        finally:
            generator.set_state(before)


def build_with_weights(
    original: Backbone, config: Mapping[str, Any], weights: Mapping[str, Tensor], difference: str
) -> Backbone:
    """Build a smaller model from what is left of another one's weights, in the same mode.

    Args:
        original: of the same class.
        config: of the smaller model.
        weights: all that it has, and no others.
        difference: what is wrong where they do not fit the config, and what to do.

    Raises:
        BackboneError: the config is refused, or the weights do not fit it.
    """
    made = build_with_seed(type(original), config)
    expected, given = ({n: tuple(t.shape) for n, t in each.items()} for each in (made.state_dict(), weights))
    odd = sorted(name for name in expected | given if expected.get(name) != given.get(name))
    if odd:
        raise BackboneError(f"{original.name!r}: {difference}; see {', '.join(odd[:5])}.")
    made.load_state_dict(dict(weights))
    return made.train(original.training)
