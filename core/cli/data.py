"""``halocline data``: what files of labelled structures hold, and many of them in one packed file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from halocline.cli.output import emit_json, progress, say

if TYPE_CHECKING:
    from halocline.data.convert import Conversion
    from halocline.structures.units import Units

_LABELS = ("energy", "forces", "stress")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of the command."""
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", required=True)
    convert = verbs.add_parser("convert", help="write many labelled structures into one packed file")
    _add_files(convert)
    convert.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.arrow", help="the file to write")
    convert.add_argument("--overwrite", action="store_true", help="replace it")
    convert.set_defaults(run=_convert)


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Add the files, and how they are to be understood."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help=".extxyz, .xyz, .db, .traj, .h5, .hdf5 or .arrow"
    )
    group = parser.add_argument_group("labels")
    for label in _LABELS:
        group.add_argument(f"--{label}-key", metavar="NAME", help=f"what the files call the {label} [usual names]")
    group = parser.add_argument_group("units of the files [those of their formats]")
    group.add_argument("--energy-unit", metavar="UNIT", help="eV, meV, kcal/mol, kJ/mol, Hartree or Rydberg")
    group.add_argument("--length-unit", metavar="UNIT", help="Å, Bohr, nm or pm")
    group.add_argument("--forces-are", choices=("forces", "gradients"), help="which sign they have")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _units(arguments: argparse.Namespace) -> Units | None:
    from halocline.structures.units import stated_units

    return stated_units(arguments.energy_unit, arguments.length_unit, arguments.forces_are)


def _convert(arguments: argparse.Namespace) -> int:
    """Write the file.

    Raises:
        HaloclineError: an option or a file is no good; nothing was written.
    """
    from halocline.data.convert import check_output, convert
    from halocline.errors import OutputError

    check_output(arguments.output, arguments.files, overwrite=arguments.overwrite)
    keys = {label: getattr(arguments, f"{label}_key") for label in _LABELS}
    try:
        with progress(None, "converting", "structures") as advance:
            made = convert(arguments.files, arguments.output, keys, _units(arguments), advance)
    except OSError as error:
        raise OutputError(
            f"{arguments.output} cannot be written: {error.strerror or error}; nothing was."
        ) from error
    _report(made, arguments)
    return 0


def _report(made: Conversion, arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    for count in made.labels:
        say(f"{count.label:<8} from key {count.key!r}: {count.frames} of {count.total} frames")
    for name, frames in sorted(made.left_out.items()):
        say(f"left out: {name}, of {frames} frames; a packed file has no room for it")
    say(f"Wrote {made.path}: {made.frames} frames, {made.atoms} atoms, {made.size} bytes.")
    if arguments.json:
        emit_json(asdict(made))
    else:
        say(f"sha256   {made.sha256}")
