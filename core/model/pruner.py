"""The pruner interface: a backbone in, a smaller real backbone out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from halocline.context import InContext
from halocline.model.backbone import Backbone


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

    The constructor takes its options by keyword, each annotated as int, float, bool or str.

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
