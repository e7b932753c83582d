"""``halocline export``: write a model as a file that runs without Halocline."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cli.options import add_compress, add_dtype, add_prune, spec_help

if TYPE_CHECKING:
    from halocline.lowering import Manifest


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="name in a zoo, or path of a checkpoint")
    add_prune(parser)
    add_dtype(parser)
    add_compress(parser)
    parser.add_argument("--backend", required=True, metavar="SPEC", help=spec_help("exporter"))
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export one model and print what was written.

    Raises:
        HaloclineError: the model, the exporter or the file name is no good, or the model cannot be exported.
    """
    import halocline
    from halocline.cli.output import emit_json, say
    from halocline.plugin import registry
    from halocline.program import Precision
    from halocline.spec import Spec

    spec = Spec.parse(arguments.backend)
    kind = registry().load("exporter", spec.name)
    check_output(arguments.output, kind.suffix, arguments.overwrite)
    exporter = spec.build(kind)
    potential = halocline.load(arguments.model, prune=arguments.prune)
    more = {"compress": True} if arguments.compress else {}
    manifest = exporter.export(potential, Precision(arguments.dtype), arguments.output, **more)
    say(f"Wrote {arguments.output} ({arguments.output.stat().st_size / 1e6:.1f} MB).")
    if arguments.json:
        emit_json(manifest.to_json())
    else:
        _show(manifest)
    return 0


def check_output(output: Path, suffix: str, overwrite: bool) -> None:
    """Find out before the work that a file cannot or must not be written.

    Raises:
        UsageError: its name, its folder or that it is there.
    """
    from halocline.errors import UsageError

    if not output.name.endswith(suffix):
        raise UsageError(f"--output {output} is to be told by its name; let it end in {suffix}.")
    if not output.parent.is_dir():
        raise UsageError(f"The folder of --output {output} does not exist; make it first.")
    if output.is_dir():
        raise UsageError(f"--output {output} is a folder; name a file.")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists; say --overwrite to replace it, or choose another --output.")


def _show(manifest: Manifest) -> None:
    """Print the signature of what was written, and where it comes from."""
    from halocline.cli.output import emit
    from halocline.cli.tables import facts, table

    columns = ("", "name", "dtype", "shape", "unit", "meaning")
    sides = (("input", manifest.inputs), ("output", manifest.outputs))
    rows = [
        (side, value.name, value.dtype, " × ".join(map(str, value.shape)), value.unit, value.meaning)
        for side, values in sides
        for value in values
    ]
    table("", columns, rows)
    emit("")
    facts("", _properties(manifest))


def _properties(manifest: Manifest) -> dict[str, str]:
    return {
        "kind": manifest.kind,
        "backbone": manifest.backbone,
        "species": " ".join(manifest.species),
        "precision": manifest.precision,
        "neighbours": _pairs(manifest.neighbours or {}),
        "reference energies (eV)": _pairs(manifest.reference_energies) or "not contained",
        "weights (SHA-256)": manifest.weights,
        "versions": _pairs(manifest.versions),
    }


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
