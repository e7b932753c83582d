"""One model as one package: from positions to energy, forces and virial, or from edge vectors for engines."""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from halocline.aggregation import Form
from halocline.backends.torch import engine
from halocline.backends.torch.compiler import require_agreement, require_compiler
from halocline.backends.torch.package import SUFFIX, build_package, open_package
from halocline.devices import device_there
from halocline.errors import UsageError
from halocline.exporter import Exporter
from halocline.files import replacement
from halocline.lowering import Manifest, lower, lower_structure
from halocline.model import Backbone
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision

#: What packages can compute; see docs/export.md.
KINDS: Final = ("structure", "program")


@final
class AotExporter(Exporter):
    """Compiles models with AOTInductor, for any number of atoms and neighbours, and for machines like this one.

    Args:
        device: that the package is to run on: ``cpu`` or ``cuda``.
        kind: ``structure`` for forces from positions, ``program`` for engines that have neighbours and ghosts.

    Raises:
        UsageError: there is no C++ compiler, or no such device or kind, or none of that kind on the device.
    """

    suffix = SUFFIX

    def __init__(self, device: str = "cpu", kind: str = "structure") -> None:
        if kind not in KINDS:
            raise UsageError(f"kind={kind!r} is none of {', '.join(KINDS)}.")
        if kind == "program" and device != "cpu":
            raise UsageError("Engines run kind=program on CPUs alone; leave out device.")
        require_compiler()
        self._kind = kind
        self._device = device_there(device)

    def refusal(self, backbone: Backbone) -> str:
        """See `Exporter.refusal`; of ``kind=program``, whatever engines cannot give."""
        return engine.refusal(backbone) if self._kind == "program" else super().refusal(backbone)

    def export(
        self, potential: Potential, precision: Precision, path: Path, *, compress: bool = False
    ) -> Manifest:
        """See `Exporter.export`."""
        compress = compress or potential.compressed
        as_program = self._kind == "program"
        if as_program:
            engine.require_served(potential.backbone)
        form = Form.EDGES if as_program else Form.TABLE
        capabilities = Capabilities.reference(form, kernels=compress)
        frozen = FrozenModel.freeze(potential.backbone, precision, capabilities, self._device, compress=compress)
        program = lower(frozen) if as_program else lower_structure(frozen, potential.reference_energies)
        told = engine.metadata(program, potential.reference_energies) if as_program else {}
        with replacement(path) as temporary:
            build_package(program, self._device, temporary, told)
            require_agreement(program, open_package(temporary, self._device).run, self._device)
        return program.manifest
