"""One model as one ONNX file, from positions to energy, forces and virial."""

from __future__ import annotations

from pathlib import Path
from typing import final

from halocline.aggregation import Form
from halocline.backends.onnx.packages import require
from halocline.durations import announced
from halocline.exporter import Exporter
from halocline.files import replacement
from halocline.lowering import Manifest, lower_structure
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision


@final
class OnnxExporter(Exporter):
    """Writes models that ONNX Runtime runs by itself, for any number of atoms and neighbours.

    Raises:
        UsageError: the package onnx is not installed.
    """

    suffix = ".onnx"

    def __init__(self) -> None:
        require("onnx")

    def export(
        self, potential: Potential, precision: Precision, path: Path, *, compress: bool = False
    ) -> Manifest:
        """See `Exporter.export`."""
        from halocline.backends.onnx.convert import to_onnx
        from halocline.backends.onnx.model_file import open_model

        compress = compress or potential.compressed
        capabilities = Capabilities.reference(Form.TABLE, kernels=compress)
        frozen = FrozenModel.freeze(potential.backbone, precision, capabilities, compress=compress)
        what = f"Translating {potential.backbone.name!r} to ONNX ({precision})"
        with announced(what), replacement(path) as temporary:
            program = lower_structure(frozen, potential.reference_energies)
            temporary.write_bytes(to_onnx(program).SerializeToString())
            return open_model(temporary).manifest
