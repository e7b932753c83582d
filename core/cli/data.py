"""``halocline data``: what files of labelled structures hold, and many of them in one packed file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from halocline.cli.output import emit, emit_json, progress, say

if TYPE_CHECKING:
    from halocline.data.convert import Conversion
    from halocline.data.look import FileReport, Look
    from halocline.structures.units import Units

_LABELS = ("energy", "forces", "stress")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of the command."""
    verbs = parser.add_subparsers(title="what to do", metavar="VERB", required=True)
    look = verbs.add_parser("look", help="what files hold, and what may be wrong with their labels")
    _add_files(look)
    look.set_defaults(run=_look)
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


def _look(arguments: argparse.Namespace) -> int:
    """Read the files and say what they hold.

    Returns:
        0, or 1 if a frame or a label cannot be read, or files share a structure.

    Raises:
        HaloclineError: an option is no good.
    """
    from dataclasses import asdict

    from halocline.data.look import look

    with progress(None, "reading", "structures") as advance:
        found = look(arguments.files, _keys(arguments), _units(arguments), advance)
    if arguments.json:
        emit_json(asdict(found))
    else:
        _show(found)
    return 0 if found.is_good else 1


def _show(found: Look) -> None:
    """Print what was found, file by file, and then what concerns several."""
    from halocline.cli.tables import facts

    for each in found.files:
        facts("", {**_contents(each), "shortest, Å": {k: f"{v:.3f}" for k, v in each.shortest.items()}})
        for problem in each.problems:
            say(f"halocline: {problem}")
        if each.problem_count > len(each.problems):
            say(f"halocline: {each.file}: {each.problem_count - len(each.problems)} further frames are no good.")
        for remark in each.remarks:
            say(f"halocline: {each.file}: {remark}")
        emit("")
    for group in found.duplicates:
        say(f"halocline: the same structure: {', '.join(group[:5])}{', ...' if len(group) > 5 else ''}")
    if found.duplicate_frames:
        say(f"halocline: {found.duplicate_frames} frames show what an earlier one shows.")
    for files, frames in found.shared.items():
        say(f"halocline: {files} share {frames} structures: errors on one after a fit to the other look too good.")
    for outlier in found.outliers:
        say(f"halocline: {outlier}")
    if found.not_compared:
        say(f"halocline: {found.not_compared} frames were not searched for duplicates and outliers: too many.")


def _contents(each: FileReport) -> dict[str, object]:
    """The facts of a file, as text."""
    from halocline.data.magnitudes import NET_FORCE

    shown: dict[str, object] = {"file": each.file, "frames": each.frames, "periodic": each.periodic}
    fewest, most = each.atoms
    shown["atoms"] = fewest if fewest == most else f"{fewest} to {most}"
    shown["elements"] = ", ".join(f"{symbol} ({frames})" for symbol, frames in sorted(each.elements.items()))
    for count in each.labels:
        shown[count.label] = f"{count.key}, in {count.frames} of {count.total}" if count.frames else ""
    if each.energy_per_atom is not None:
        lowest, highest = each.energy_per_atom
        shown["energy per atom"] = f"{lowest:.4f} to {highest:.4f} eV"
    if each.forces_rms is not None:
        shown["force components"] = f"RMS {each.forces_rms:.3g} eV/Å; of an atom up to {each.largest_force:.3g}"
        unbalanced = f"; {each.unbalanced} frames above {NET_FORCE}" if each.unbalanced else ""
        shown["net force per atom"] = f"up to {each.largest_net_force:.2g} eV/Å{unbalanced}"
    return shown


def _keys(arguments: argparse.Namespace) -> dict[str, str | None]:
    return {label: getattr(arguments, f"{label}_key") for label in _LABELS}


def _convert(arguments: argparse.Namespace) -> int:
    """Write the file.

    Raises:
        HaloclineError: an option or a file is no good; nothing was written.
    """
    from halocline.data.convert import check_output, convert
    from halocline.errors import OutputError

    check_output(arguments.output, arguments.files, overwrite=arguments.overwrite)
    try:
        with progress(None, "converting", "structures") as advance:
            made = convert(arguments.files, arguments.output, _keys(arguments), _units(arguments), advance)
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
