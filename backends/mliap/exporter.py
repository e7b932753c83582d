"""Write a model as an object for LAMMPS' pair style ``mliap unified``."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import final

from halocline.backends.mliap.unified import Unified
from halocline.backends.torch import engine
from halocline.backends.torch.executor import TorchExecutor
from halocline.exporter import Exporter
from halocline.files import write_atomically
from halocline.lowering import Manifest, Value
from halocline.model import Backbone
from halocline.potential.potential import Potential
from halocline.program import FrozenModel, Precision

_INPUTS = (
    Value("elems", "int32", ("atoms",), "", "places among the species"),
    Value("pair_i", "int32", ("pairs",), "", "atoms that have neighbours"),
    Value("pair_j", "int32", ("pairs",), "", "these neighbours"),
    Value("rij", "float64", ("pairs", 3), "Å", "from i to j"),
)
_OUTPUTS = (
    Value("eatoms", "float64", ("owned",), "eV", "energies of owned atoms"),
    Value("fij", "float64", ("pairs", 3), "eV/Å", "derivatives of their sum by rij"),
)


@final
class MliapExporter(Exporter):
    """Writes a pickle, which Python loads where Halocline is installed; see docs/lammps.md."""

    suffix = ".pkl"

    def refusal(self, backbone: Backbone) -> str:
        """See `Exporter.refusal`: whatever engines cannot give."""
        return engine.refusal(backbone)

    def export(
        self, potential: Potential, precision: Precision, path: Path, *, compress: bool = False
    ) -> Manifest:
        """See `Exporter.export`.

        Raises:
            LoweringError: the model does not take all neighbours within one cutoff, and nothing else.
        """
        engine.require_served(potential.backbone)
        compress = compress or potential.compressed
        capabilities = TorchExecutor("cpu").capabilities
        frozen = FrozenModel.freeze(potential.backbone, precision, capabilities, "cpu", compress=compress)
        references = dict(potential.reference_energies)
        manifest = Manifest.of(frozen, "program", _INPUTS, _OUTPUTS, reference_energies=references)
        unified = Unified(
            potential.backbone, references, precision, compress=compress, manifest=manifest.to_json()
        )
        write_atomically(path, pickle.dumps(unified))
        return manifest
