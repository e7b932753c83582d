"""One stage of a program, prepared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from halocline.context import InContext
from halocline.program import ProgramInputs
from halocline.shares import count_methods


class StageSession(InContext, ABC):
    """Runs a stage of h hops, forwards and backwards. Tensors are on the executor's device.

    Where state is exchanged, an evaluator runs one stage after another and sends state between them; nothing is
    kept from the forward run, so the product computes the stage again.
    """

    in_context = ("value", "product")

    def __init_subclass__(cls, **options: Any) -> None:
        """Count what stages take; see `InContext` for the rest."""
        super().__init_subclass__(**options)
        count_methods(cls, "network", cls.in_context)

    @abstractmethod
    def value(self, state: Mapping[str, Tensor], inputs: ProgramInputs | None) -> dict[str, Tensor]:
        """The state that the stage writes.

        Args:
            state: name → (n_h, ...), of the atoms read; and ``edges_`` names → [..., ...], of the edges of the
                outermost block, if the stage reads such.
            inputs: a part of h hop levels, of which nothing but atoms and edges is read; None for a stage without
                hops.

        Returns:
            Name → (n_0, ...); without hops, n_0 is n_h. Edge values are those of the outermost block.
        """

    @abstractmethod
    def product(
        self, state: Mapping[str, Tensor], inputs: ProgramInputs | None, cotangents: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The vector-Jacobian product.

        Args:
            state: as for `value`.
            inputs: as for `value`.
            cotangents: of floats that the stage writes, like them; zero where missing.

        Returns:
            Cotangents of the floats read, like them; and ``vectors``, [..., 3], of a stage with hops.
        """
