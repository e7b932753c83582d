"""Prune a backbone with the pruner that a text names."""

from __future__ import annotations

import torch

from halocline.errors import HaloclineError, PluginError, UsageError
from halocline.model.backbone import Backbone
from halocline.model.pruner import Pruner
from halocline.plugin import registry
from halocline.spec import Spec
from halocline.typed_table import plain_number


def make_pruner(prune: int | str) -> Pruner:
    """Make the pruner that somebody asks for.

    Args:
        prune: ``name`` or ``name:key=value,...`` of a pruner; or a number, which is an option of the pruner that
            is the default: the number of layers to keep.

    Raises:
        UsageError: it is neither, or no plugin brings this pruner, or it lacks an option or does not take it.
        PluginError: the pruner cannot be made.
    """
    prune = plain_number(prune)
    if type(prune) is int:
        text = _by_number(prune)
    elif isinstance(prune, str):
        text = _by_number(prune) if prune.lstrip("+-").isdecimal() else prune
    else:
        raise UsageError(f"prune must be a number of layers or a text such as {_by_number(2)!r}, not {prune!r}.")
    spec = Spec.parse(text)
    kind = registry().load("pruner", spec.name)
    if not (isinstance(kind, type) and issubclass(kind, Pruner)):
        raise PluginError(f"The pruner {spec.name!r} is no subclass of halocline.model.pruner.Pruner.")
    pruner: Pruner = spec.build(kind)
    return pruner


def _by_number(number: int | str) -> str:
    """What a bare number stands for."""
    default = registry().default("pruner")
    return f"{default.name}:{default.number}={number}"


def pruned(backbone: Backbone, prune: int | str) -> Backbone:
    """A smaller model; the caller's random state is put back.

    Args:
        backbone: it may be changed by a pruner that breaks its contract.
        prune: as for `make_pruner`.

    Raises:
        UsageError: as for `make_pruner`, or the backbone cannot be pruned in this way.
        PluginError: the pruner fails, or returns something else than its contract says.
    """
    pruner = make_pruner(prune)
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)  # new weights, if a pruner makes any, follow from nothing else
        try:
            smaller, _ = pruner.prune(backbone)
        except HaloclineError:
            raise
        except Exception as error:  # whatever a stranger's code raises
            raise PluginError(f"The pruner {prune!r} failed: {type(error).__name__}: {error}.") from error
    if not isinstance(smaller, Backbone):
        raise PluginError(f"The pruner {prune!r} returned {type(smaller).__name__}, no backbone.")
    return smaller
