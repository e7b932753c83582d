"""Whether ranks recompute their halos or exchange state."""

from __future__ import annotations

import logging

from halocline.model.backbone import Backbone
from halocline.spec import Spec

_logger = logging.getLogger("halocline")


def choose_halo(backbone: Backbone, inner: str, halo: str) -> bool:
    """Whether to exchange.

    Args:
        backbone: the model.
        inner: executor of the ranks and its options.
        halo: ``recompute``, ``exchange``, or ``auto``.
    """
    if halo != "auto":
        return halo == "exchange"
    name, layers = Spec.parse(inner).name, len(backbone.layers)
    exchange = name == "torch" and layers > 1
    if exchange:
        reason = f"exchange, because each of {layers} layers would have to be evaluated on its own halo"
    elif layers <= 1:
        reason = "recompute, because a model without a second layer has no state to send"
    else:
        reason = f"recompute, because {name} is not known to run single stages"
    _logger.info("halo: %s.", reason)
    return exchange
