"""The kernel interface: a faster stage that takes the place of a plain one when a model is frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from halocline.aggregation import Form
from halocline.model.stage import Stage
from halocline.program.capabilities import Precision
from halocline.program.operators import CustomOperator


class Kernel(ABC):
    """Makes faster stages. It takes no arguments.

    Attributes:
        version: raised whenever results change; everything compiled is kept under it.
        exact: whether its stages equal the plain ones but for rounding. Those that are not are used only where the
            user asks for compression. They come first: an exact kernel is then given the compressed stage, with a
            `TabulatedFunction` for each `RadialFunction`, and may run that.
        general: whether it is for an operation, in whatever stage that occurs. One that is for the type of a stage
            is tried before.
        forms: layouts of edges that its stages work on.
        devices: kinds of device that they run on.
        precisions: that they compute in.
        operators: custom operators that they call; empty if they are made of plain operations, which any executor
            takes.
        other_code_on_device: whether its plain operations run other code on a GPU than on the CPU: what is checked
            is then the stage on the device itself. Custom operators always do.
        tolerances: by how much values and vector-Jacobian products of a stage may differ from the plain one's,
            relative to the largest of them. Checked whenever a stage is replaced.
    """

    version: ClassVar[int]
    exact: ClassVar[bool] = True
    general: ClassVar[bool] = False
    forms: ClassVar[frozenset[Form]] = frozenset(Form)
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    precisions: ClassVar[tuple[Precision, ...]] = tuple(Precision)
    operators: ClassVar[tuple[CustomOperator, ...]] = ()
    other_code_on_device: ClassVar[bool] = False
    tolerances: ClassVar[dict[Precision, float]] = {Precision.FLOAT64: 1e-11, Precision.FLOAT32: 1e-5}

    @abstractmethod
    def suits(self, stage: Stage) -> bool:
        """Whether it is for stages of this type."""

    def pays(self, stage: Stage) -> bool:
        """Whether what it saves is worth what it costs to make, as code that is compiled at its first use.

        Kernels that nobody asked for by name replace no stage for which this is False, and nothing is said.
        """
        del stage
        return True

    @abstractmethod
    def replace(self, stage: Stage, form: Form, precision: Precision, device: str) -> Stage:
        """Make the faster stage.

        Args:
            stage: a copy in float64, which may be changed and returned.
            form: of the edges.
            precision: what is returned is cast to it.
            device: kind of device that it will run on.

        Returns:
            A stage that reads and writes the same state.

        Raises:
            KernelError: it cannot be done for this very stage, and why.
        """

    def took_part(self, stage: Stage) -> bool:
        """Whether a stage that it made, and that was just checked, does anything otherwise than the one before.

        A general kernel may see only then that its operation does not occur. What was replaced is left as it is.
        """
        del stage
        return True
