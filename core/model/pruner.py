"""The pruner interface, a backbone in and a smaller real backbone out; and the pruner that a text names."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch

from halocline.context import InContext
from halocline.errors import HaloclineError, PluginError, UsageError
from halocline.model.backbone import Backbone
from halocline.plugin import registry
from halocline.spec import Spec
from halocline.typed_table import plain_number


@final
@dataclass(frozen=True, slots=True)
class PruningReport:
    """What pruning changed; each pair is (before, after).

    Attributes:
        layers: message-passing layers.
        hops: hops in the receptive field.
        parameters: trainable numbers.
        cost: predicted cost of one evaluation relative to the unpruned model. Messages dominate it, so it is the
            ratio of parameters in stages that have neighbours.
    """

    layers: tuple[int, int]
    hops: tuple[int, int]
    parameters: tuple[int, int]
    cost: float

    @classmethod
    def compare(cls, before: Backbone, after: Backbone) -> PruningReport:
        """Describe what became of a backbone."""
        return cls(
            layers=(len(before.layers), len(after.layers)),
            hops=(before.hops, after.hops),
            parameters=(_parameters(before), _parameters(after)),
            cost=_message_parameters(after) / max(1, _message_parameters(before)),
        )


class Pruner(InContext, ABC):
    """Makes a backbone smaller. The result saves, loads, lowers and partitions like any other.

    The constructor takes its options by keyword, each annotated as int, float, bool, str, or Path for a file:
    of what a recipe names, files are relative to the recipe.

    Attributes:
        example: options, as ``key=value,...``, with which the conformance suite builds it to prune the small
            examples that come in the box.
    """

    example: ClassVar[str] = ""

    in_context = ("prune",)

    @abstractmethod
    def prune(self, backbone: Backbone) -> tuple[Backbone, PruningReport]:
        """Return a pruned copy; the original stays as it is.

        A pruned pretrained model is meant to be fine-tuned: it is a real model, not an accurate one.
        """


def _parameters(backbone: Backbone) -> int:
    return sum(p.numel() for p in backbone.parameters())


def _message_parameters(backbone: Backbone) -> int:
    return sum(p.numel() for _, stage in backbone.stages() if stage.spec.hops for p in stage.parameters())


@final
class InTurn(Pruner):
    """Several pruners, one after the other.

    Args:
        pruners: each is given what the one before it has made.
    """

    def __init__(self, pruners: Sequence[Pruner]) -> None:
        self.pruners = tuple(pruners)

    def prune(self, backbone: Backbone) -> tuple[Backbone, PruningReport]:
        """See `Pruner.prune`."""
        smaller = backbone
        for pruner in self.pruners:
            smaller, _ = pruner.prune(smaller)
        return smaller, PruningReport.compare(backbone, smaller)


#: What joins pruners: a plus in front of a name. One in front of a digit belongs to a number.
_JOINT = re.compile(r"\+(?=[A-Za-z][\w/-]*(?:[:+]|$))")


def make_pruner(prune: int | str, place: Callable[[str], Path] = Path) -> Pruner:
    """Make the pruner that somebody asks for.

    Args:
        prune: ``name`` or ``name:key=value,...`` of a pruner; or a number, which is an option of the pruner that
            is the default: the number of layers to keep. Several that act in turn are joined by ``+``, such as
            ``2+channels:keep=0.5``.
        place: where the file is that an option names; by default relative to the working directory.

    Raises:
        UsageError: it is neither, or no plugin brings this pruner, or it lacks an option or does not take it.
        PluginError: the pruner cannot be made.
    """
    prune = plain_number(prune)
    if type(prune) is int:
        return _make(_by_number(prune), place)
    if not isinstance(prune, str):
        raise UsageError(f"prune must be a number of layers or a text such as {_by_number(2)!r}, not {prune!r}.")
    texts = [_by_number(text) if _is_number(text) else text for text in _JOINT.split(prune)]
    return _make(texts[0], place) if len(texts) == 1 else InTurn([_make(text, place) for text in texts])


def with_files(prune: int | str, change: Callable[[str], str]) -> int | str:
    """The same pruners as `make_pruner` takes, with other names for the files among their options.

    Raises:
        UsageError: no plugin brings such a pruner.
        PluginError: it cannot be imported.
    """
    if not isinstance(prune, str):
        return prune
    return "+".join(text if _is_number(text) else _renamed(text, change) for text in _JOINT.split(prune))


def _renamed(text: str, change: Callable[[str], str]) -> str:
    spec, kind = _found(text)
    files = spec.files(kind)
    if not files:
        return text
    options = [f"{key}={change(value) if key in files else value}" for key, value in spec.options.items()]
    return f"{spec.name}:{','.join(options)}"


def _is_number(text: str) -> bool:
    return text.lstrip("+-").isdecimal()


def _make(text: str, place: Callable[[str], Path]) -> Pruner:
    """One pruner by its name and options."""
    spec, kind = _found(text)
    files = {name: place(spec.options[name]) for name in spec.files(kind)}
    others = {name: value for name, value in spec.options.items() if name not in files}
    pruner: Pruner = Spec(spec.name, others).build(kind, **files)
    return pruner


def _found(text: str) -> tuple[Spec, Any]:
    """The name with options that a text is, and the class of that name."""
    spec = Spec.parse(text)
    kind = registry().load("pruner", spec.name)
    if not (isinstance(kind, type) and issubclass(kind, Pruner)):
        raise PluginError(f"The pruner {spec.name!r} is no subclass of halocline.model.pruner.Pruner.")
    return spec, kind


def _by_number(number: int | str) -> str:
    """What a bare number stands for."""
    default = registry().default("pruner")
    return f"{default.name}:{default.number}={number}"


def pruned(backbone: Backbone, prune: int | str, place: Callable[[str], Path] = Path) -> Backbone:
    """A smaller model; the caller's random state is put back.

    Args:
        backbone: it may be changed by a pruner that breaks its contract.
        prune: as for `make_pruner`.
        place: likewise.

    Raises:
        UsageError: as for `make_pruner`, or the backbone cannot be pruned in this way.
        PluginError: the pruner fails, or returns something else than its contract says.
    """
    pruner = make_pruner(prune, place)
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
