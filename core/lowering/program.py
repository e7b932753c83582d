"""A program: what a frozen model, or a stage of one, becomes when it is lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor, fx

from halocline.lowering.manifest import Manifest


@final
@dataclass(frozen=True, slots=True)
class Program:
    """A graph of plain tensor operations, and its manifest.

    Attributes:
        graph: one placeholder for each input of the manifest, in order and under its name; calls of ATen
            operations only; weights and constants as buffers; returns a tuple of the manifest's outputs.
        manifest: what goes in, what comes out, and where it is from.
    """

    graph: fx.GraphModule
    manifest: Manifest

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the graph as it stands, one operation after another."""
        outputs: tuple[Tensor, ...] = self.graph(*inputs)
        return outputs
