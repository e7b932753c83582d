"""One model as one package, from positions to energy, forces and virial."""

from __future__ import annotations

from pathlib import Path
from typing import final

from halocline.aggregation import Form
from halocline.backends.torch.compiler import require_agreement, require_compiler
from halocline.backends.torch.package import SUFFIX, build_package, open_package
from halocline.devices import device_there
from halocline.exporter import Exporter
from halocline.files import replacement
from halocline.lowering import Manifest, lower_structure
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision


@final
class AotExporter(Exporter):
    """Compiles models with AOTInductor, for any number of atoms and neighbours, and for machines like this one.

    Args:
        device: that the package is to run on: ``cpu`` or ``cuda``.

    Raises:
        UsageError: there is no C++ compiler, or no such device.
    """

    suffix = SUFFIX

    def __init__(self, device: str = "cpu") -> None:
        require_compiler()
        self._device = device_there(device)

    def export(
        self, potential: Potential, precision: Precision, path: Path, *, compress: bool = False
    ) -> Manifest:
        """See `Exporter.export`."""
        compress = compress or potential.compressed
        capabilities = Capabilities.reference(Form.TABLE, kernels=compress)
        frozen = FrozenModel.freeze(potential.backbone, precision, capabilities, self._device, compress=compress)
        program = lower_structure(frozen, potential.reference_energies)
        with replacement(path) as temporary:
            build_package(program, self._device, temporary)
            require_agreement(program, open_package(temporary, self._device).run, self._device)
        return program.manifest
