"""One model as one program file, which the runner runs by itself."""

from __future__ import annotations

from pathlib import Path
from typing import final

from halocline.aggregation import Form
from halocline.backends.ipu.executor import compile_program, fixed_capacity
from halocline.backends.ipu.rehearsal import require_rehearsal
from halocline.errors import UsageError
from halocline.exporter import Exporter
from halocline.lowering import Manifest
from halocline.model import Backbone
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision


@final
class IpuExporter(Exporter):
    """Writes programs of fixed shape for whole structures: edge vectors in, energies and edge gradients out.

    Args:
        atoms: of the largest structure.
        neighbours: of any atom.

    Raises:
        UsageError: one of them is not positive.
    """

    suffix = ".ipu.zip"

    def __init__(self, atoms: int = 128, neighbours: int = 64) -> None:
        if atoms < 1 or neighbours < 1:
            raise UsageError(
                f"A program has room for at least one atom and neighbour, not {atoms} and {neighbours}."
            )
        self._size = (atoms, neighbours)

    def refusal(self, backbone: Backbone) -> str:
        """See `Exporter.refusal`: none as such; what needs too much memory is refused one by one."""
        del backbone
        return ""

    def export(
        self, potential: Potential, precision: Precision, path: Path, *, compress: bool = False
    ) -> Manifest:
        """See `Exporter.export`."""
        if precision is not Precision.FLOAT32:
            raise UsageError(f"IPUs compute in float32, not in {precision.value}; say --dtype float32.")
        compress = compress or potential.compressed
        capabilities = Capabilities.reference(Form.TABLE, kernels=compress)
        frozen = FrozenModel.freeze(potential.backbone, precision, capabilities, compress=compress)
        capacity = fixed_capacity(frozen, *self._size)
        compiled = compile_program(frozen, capacity)
        require_rehearsal(compiled, frozen.backbone, capacity)
        compiled.write(path)
        return Manifest.from_json(compiled.manifest)
