"""The executor interface: one frozen model on one device, prepare then run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, final

from torch import Tensor

from halocline.context import InContext
from halocline.errors import UsageError
from halocline.program import Capabilities, FrozenModel, ProgramInputs, ProgramOutputs
from halocline.shares import count_methods

if TYPE_CHECKING:
    from halocline.lowering import Program


@final
@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The state of one backend on this machine.

    Attributes:
        usable: whether an executor can be made here.
        reason: why it is not usable, and what to do about it, in one sentence; empty if it is.
        versions: version of each package that it runs on, by name.
        devices: what ``--device`` accepts here, such as ``cpu`` and ``cuda:0``.
        details: whatever else explains its speed or its numbers, such as threads and kernels, by name.
    """

    usable: bool
    reason: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    details: dict[str, str] = field(default_factory=dict)


class Session(InContext, ABC):
    """A prepared model. Calling it changes nothing but its own buffers."""

    in_context = ("__call__",)

    def __init_subclass__(cls, **options: Any) -> None:
        """Count what the program takes; see `InContext` for the rest."""
        super().__init_subclass__(**options)
        count_methods(cls, "network", cls.in_context)

    @abstractmethod
    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """Run the program on one part.

        Args:
            inputs: in the form and precision of the model, on the session's device.
        """


class Executor(InContext, ABC):
    """Compiles programs for one device.

    The constructor takes ``device`` and the backend's own options by keyword, and raises UsageError for a device
    that is not there: it never falls back to another one.

    Attributes:
        capabilities: what it can do.
        device: the torch device on which it wants its inputs and leaves its outputs.
        variants: sets of options, as ``key=value,...``, that are tested and timed as if they were backends of
            their own.
    """

    in_context = ("prepare", "prepare_stages")
    variants: ClassVar[tuple[str, ...]] = ("",)

    capabilities: Capabilities
    device: str

    @property
    def reproducible(self) -> bool:
        """Whether equal inputs give equal outputs to the bit, call after call, which exact restarts rely on."""
        return True

    @classmethod
    @abstractmethod
    def diagnose(cls) -> Diagnosis:
        """Say whether the backend can be used here, in well under a second.

        A package that is missing or broken is a reason, not an exception; nothing is compiled and no device is
        kept.
        """

    @classmethod
    def untranslated(cls, program: Program) -> tuple[str, ...]:
        """Operations of a program that the backend has no translation of; by default it needs none.

        Args:
            program: in table form, with free sizes, in float64.

        Returns:
            Each operation with the line of the model that made it, once.
        """
        del program
        return ()

    @abstractmethod
    def prepare(self, frozen: FrozenModel) -> Session:
        """Prepare a frozen model, whose precision and form are among the capabilities."""

    def prepare_stages(self, frozen: FrozenModel) -> dict[str, StageSession]:
        """Prepare every stage of a frozen model by itself, under its name in `Backbone.stages`.

        Raises:
            UsageError: the backend runs nothing but whole programs, which is the default.
        """
        del frozen
        raise UsageError("This backend runs whole programs only, not their stages; choose halo=recompute.")


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
