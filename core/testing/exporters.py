"""The checks of an exporter: one file, which says what is in it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import final

from halocline.errors import LoweringError
from halocline.exporter import Exporter
from halocline.model import Backbone
from halocline.program import Precision
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.subject import Subject


@final
@dataclass(frozen=True, slots=True)
class ExporterSubject:
    """An exporter, and a backbone to export."""

    exporter: Exporter
    backbone: Backbone


def check_suffix(subject: ExporterSubject) -> None:
    """Files of the exporter can be told by their names: the suffix begins with a dot.

    Raises:
        Failure: it does not.
    """
    if not subject.exporter.suffix.startswith("."):
        raise Failure(f"The suffix {subject.exporter.suffix!r} does not begin with a dot.")


def check_artefact(subject: ExporterSubject) -> None:
    """The file replaces an older one, nothing is left beside it, and its manifest fits the model.

    Where the exporter refuses such models, the older file stays as it is.

    Raises:
        Failure: one of these does not hold.
        NotApplicable: the exporter refuses such models, see `Exporter.refusal`.
    """
    backbone, precision = subject.backbone, Precision.FLOAT32
    refusal = subject.exporter.refusal(backbone)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{subject.exporter.suffix}"
        path.write_bytes(b"old")
        try:
            manifest = subject.exporter.export(Subject(backbone).potential(), precision, path)
        except LoweringError as error:
            if str(error) != refusal:
                raise
            manifest = None
        left = sorted(file.name for file in Path(folder).iterdir())
        if left != [path.name] or (path.read_bytes() == b"old") != (manifest is None):
            raise Failure(f"One new file {path.name} was expected in the folder; there is {', '.join(left)}.")
    if manifest is None:
        raise NotApplicable(refusal)
    if refusal:
        raise Failure(f"It says that it refuses such models, and wrote a file: {refusal}")
    said = (manifest.backbone, manifest.config, manifest.species, manifest.precision)
    if said != (backbone.name, backbone.config, backbone.species, precision):
        raise Failure(f"The manifest describes another model: {', '.join(map(str, said))}.")


#: All checks of an exporter by name.
EXPORTER_CHECKS = MappingProxyType({"suffix": check_suffix, "artefact": check_artefact})
