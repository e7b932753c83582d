"""Derivatives, and the difference between one that is zero and a graph that was lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from halocline.errors import BackboneError


def vector_jacobian_product(
    written: Mapping[str, Tensor],
    cotangents: Mapping[str, Tensor],
    read: Mapping[str, Tensor],
    what: str,
    *,
    constant: Callable[[], bool],
    differentiable: bool = False,
) -> dict[str, Tensor]:
    """Cotangents of what was read, by name and shaped like it; zero where nothing written depends on it.

    Where nothing written depends on anything read, torch would give zeros as well, and forces would vanish without
    a word. Whoever calls knows whether that can be, and is asked if it happens.

    Args:
        written: floats, some of which may depend on what was read.
        cotangents: of some of them, like them.
        read: floats that require gradients.
        what: was written, for messages.
        constant: says whether it may depend on nothing that was read.
        differentiable: keep the graph.

    Raises:
        BackboneError: nothing depends on anything, although it has to.
    """
    reached = [name for name in cotangents if written[name].requires_grad]
    products: tuple[Tensor | None, ...] = (None,) * len(read)
    if reached and read:
        products = torch.autograd.grad(
            [written[name] for name in reached],
            list(read.values()),
            [cotangents[name] for name in reached],
            create_graph=differentiable,
            allow_unused=True,
        )
    if cotangents and all(product is None for product in products) and not constant():
        raise BackboneError(
            f"{what} do not depend on the positions of neighbours, although there are some: no force could be "
            "told. Remove what ends the derivative, such as detach(), torch.no_grad() or .data, from its stages."
        )
    return {
        name: torch.zeros_like(leaf) if product is None else product
        for (name, leaf), product in zip(read.items(), products, strict=True)
    }


def stage_may_be_constant(read: Mapping[str, Tensor], vectors: Tensor | None) -> bool:
    """Whether a stage may write floats that depend on none of those that it reads.

    It may look up something by species, which has no derivative, or find nothing there to read.

    Args:
        read: the state that it is given.
        vectors: of its edges; None without hops.
    """
    floats = [
        *(values for values in read.values() if values.is_floating_point()),
        *([] if vectors is None else [vectors]),
    ]
    return len(floats) < len(read) + (vectors is not None) or not any(values.numel() for values in floats)
