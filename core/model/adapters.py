"""Low-rank adapters: a model is fine-tuned by a few numbers for each dense layer, and keeps its weights.

E. J. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, arXiv:2106.09685.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from halocline.errors import BackboneError, UsageError, unknown_name
from halocline.model.backbone import Backbone


@final
class Adapted(nn.Module):
    """A dense layer whose weight has a product of two thin matrices added to it; at first that is zero.

    Args:
        layer: stays as it is.
        rank: r, less than both sizes of its weight (out, in).
        scale: of the product.
        generator: draws ``down``.

    Attributes:
        layer: see the argument.
        down: (r, in).
        up: (out, r), zeros at first.
    """

    def __init__(self, layer: nn.Linear, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        weight = layer.weight.detach()
        bound = 1.0 / math.sqrt(layer.in_features)
        drawn = torch.empty(rank, layer.in_features, dtype=torch.float64)
        self.layer, self.scale = layer, scale
        self.down = nn.Parameter(drawn.uniform_(-bound, bound, generator=generator).to(weight))
        self.up = nn.Parameter(weight.new_zeros(layer.out_features, rank))

    @property
    def weight(self) -> Tensor:
        """(out, in), that the layer works with."""
        return self.layer.weight + self.scale * (self.up @ self.down)

    @property
    def bias(self) -> Tensor | None:
        """(out,), of the layer, if it has one."""
        return self.layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """The linear map with the weights that it has now, (..., in) → (..., out)."""
        return linear(x, self.weight, self.bias)


def adapted(
    backbone: Backbone, rank: int, *, alpha: float | None = None, seed: int = 0, full: Collection[str] = ()
) -> Backbone:
    """A copy whose dense layers have adapters, which alone can be trained, but for what is named.

    It gives what the original gives until they are trained. Evaluated, saved and lowered is what `merged` makes.

    Args:
        backbone: without adapters; it stays as it is.
        rank: of the adapters. Layers with as few inputs or outputs, or fewer, have none.
        alpha: the product counts alpha / rank times; once by default.
        seed: of the first values.
        full: names of stages, modules or weights that have no adapters and can be trained themselves.

    Raises:
        UsageError: the rank is not positive, no layer is large enough for it, or a name is of nothing.
        BackboneError: there are adapters already.
    """
    if type(rank) is not int or rank < 1:
        raise UsageError(f"The rank of adapters must be a whole number above 0, not {rank!r}.")
    if any(adapters(backbone)):
        raise BackboneError(f"{backbone.name!r} has adapters already; merge them first.")
    copied = copy.deepcopy(backbone).requires_grad_(False)
    whole = [weights for name in full for weights in weights_below(name, copied).values()]
    generator, scale = torch.Generator().manual_seed(seed), 1.0 if alpha is None else alpha / rank

    def adapt(layer: nn.Module) -> nn.Module:
        apart = any(weights is each for each in whole for weights in layer.parameters(recurse=False))
        if isinstance(layer, nn.Linear) and not apart and min(layer.weight.shape) > rank:
            return Adapted(layer, rank, scale, generator)
        return layer

    _replace(copied, adapt)
    if not any(adapters(copied)):
        raise UsageError(f"No dense layer of {backbone.name!r} has more than {rank} inputs and outputs.")
    for weights in whole:
        weights.requires_grad_(True)
    return copied


def weights_below(name: str, backbone: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of that name, or of the stage or module of that name, by the names that they have here.

    Names are those of the plain model, so that of a weight with an adapter is that of both its matrices, too.

    Raises:
        UsageError: there is none.
    """
    places = _adapted_places(backbone)
    weights = {each: (_plain_name(each, places), w) for each, w in backbone.named_parameters()}
    found = {each: w for each, (plain, w) in weights.items() if plain == name or plain.startswith(f"{name}.")}
    if not found:
        parts = [plain.split(".") for plain, _ in weights.values()]
        known = {".".join(words[:count]) for words in parts for count in range(1, len(words) + 1)}
        raise unknown_name("weight or stage", name, known)
    return found


def weights_in_use(backbone: Backbone) -> dict[str, Callable[[], Tensor]]:
    """By the names that weights have in `merged`: what gives those that layers work with when it is called."""
    places = _adapted_places(backbone)
    found: dict[str, Callable[[], Tensor]] = {}
    for name, weights in backbone.named_parameters(remove_duplicate=False):
        plain = _plain_name(name, places)
        path, _, last = plain.rpartition(".")
        if path in places and last == "weight":  # with the product of the matrices
            found[plain] = partial(getattr, places[path], "weight")
        else:
            found[plain] = partial(_itself, weights)
    return found


def _adapted_places(backbone: nn.Module) -> dict[str, Adapted]:
    """Layers with adapters, by all names that they have."""
    named = backbone.named_modules(remove_duplicate=False)
    return {path: module for path, module in named if isinstance(module, Adapted)}


def _plain_name(name: str, places: Collection[str]) -> str:
    """The name that a weight has in `merged`; a matrix of an adapter becomes part of the layer's weight."""
    path, _, last = name.rpartition(".")
    if path in places:
        return f"{path}.weight"
    owner = path.removesuffix(".layer")
    return f"{owner}.{last}" if owner in places else name


def _itself(weights: Tensor) -> Tensor:
    return weights


def adapters(backbone: Backbone) -> Iterator[Adapted]:
    """All layers of a backbone that have adapters, in their order."""
    return (module for module in backbone.modules() if isinstance(module, Adapted))


def merged(backbone: Backbone) -> Backbone:
    """A copy in which adapters have become part of the weights; the original itself if it has none."""
    if not any(adapters(backbone)):
        return backbone
    copied = copy.deepcopy(backbone)
    _replace(copied, _merge)
    return copied


def _merge(module: nn.Module) -> nn.Module:
    if not isinstance(module, Adapted):
        return module
    module.layer.weight = nn.Parameter(module.weight.detach())
    return module.layer


def _replace(root: nn.Module, change: Callable[[nn.Module], nn.Module]) -> None:
    """Put what becomes of each module below a root in its place; one that is there twice becomes one."""
    became: dict[nn.Module, nn.Module] = {}
    for parent in list(root.modules()):
        for name, child in parent.named_children():
            if child not in became:
                became[child] = change(child)
            if became[child] is not child:
                setattr(parent, name, became[child])
