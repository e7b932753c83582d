"""The exporter interface: one model, one file that runs without Halocline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from halocline.context import InContext
from halocline.lowering import structure_refusal

if TYPE_CHECKING:
    from halocline.lowering import Manifest
    from halocline.model import Backbone
    from halocline.potential.potential import Potential
    from halocline.program import Precision


class Exporter(InContext, ABC):
    """Writes models for one runtime.

    The constructor takes the exporter's own options by keyword, and raises UsageError where a package that it
    needs is not installed.

    Attributes:
        suffix: how the names of its files end, such as ``.onnx``.
    """

    in_context = ("export",)
    suffix: ClassVar[str]

    def refusal(self, backbone: Backbone) -> str:
        """Why `export` refuses all models of a backbone, in the words of its LoweringError; empty if it does not.

        Here: what programs from positions to forces cannot be. Exporters of anything else say what they refuse.
        """
        return structure_refusal(backbone)

    @abstractmethod
    def export(
        self, potential: Potential, precision: Precision, path: Path, *, compress: bool = False
    ) -> Manifest:
        """Write the artefact atomically, with its manifest inside.

        Args:
            potential: stays as it is.
            precision: of the network; positions, energies, forces and virials are float64 always.
            path: replaced if it exists.
            compress: let tables take the place of radial functions; see `FrozenModel.freeze`. So it is of a
                potential that is `compressed`. The manifest names the kernel among its versions.

        Returns:
            What was written: inputs, outputs, units, weights and versions.

        Raises:
            HaloclineError: this model cannot be exported.
            OSError: the file cannot be written.
        """
