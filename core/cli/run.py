"""``halocline run``: evaluate structures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from halocline.cli.options import (
    add_format,
    add_model_options,
    default_explained,
    evaluation_options,
    load_potential,
    located,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from ase import Atoms

    from halocline.evaluator.result import Result

_COLUMNS = ("file", "frame", "formula", "atoms", "E (eV)", "E/atom (eV)", "max |F| (eV/Å)", "p (GPa)")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "structures",
        nargs="+",
        metavar="STRUCTURES",
        help="files of any format that ASE reads; - is extxyz on stdin",
    )
    add_format(parser)
    add_model_options(parser)
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", metavar="FILE", help="write the structures with results as extended XYZ")
    group.add_argument("--json", action="store_true", help="print all results, arrays included, as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate all frames of all files, many at a time; those that cannot be evaluated are named, the others kept.

    Returns:
        0, or 1 if there were such frames.

    Raises:
        HaloclineError: a file, model or option is no good.
    """
    from contextlib import closing

    from halocline.cli.output import emit_json, progress
    from halocline.cli.tables import table
    from halocline.errors import HaloclineError
    from halocline.potential.many import outcomes
    from halocline.structures.read import read_frames

    _check_output(arguments)
    frames = [
        (name, index, atoms)
        for name in arguments.structures
        for index, atoms in enumerate(read_frames(name, arguments.format))
    ]
    potential = load_potential(arguments)
    options = evaluation_options(arguments)
    kept, results, records = [], [], []
    complain = _complainer(arguments)
    with closing(potential.evaluator(**options)) as evaluator, progress(len(frames), "evaluating") as advance:
        found = outcomes(potential, evaluator, [atoms for _, _, atoms in frames])
        for (name, index, atoms), result in zip(frames, found, strict=True):
            with complain(f"{name}, frame {index}"):
                if isinstance(result, HaloclineError):
                    raise result
                records.append(_record(name, index, atoms, result))
                kept.append(atoms)
                results.append(result)
            advance()
    _say_outside(records, results)
    if arguments.output and kept:
        _write(arguments.output, kept, results)
    if arguments.json:
        emit_json(records)
    elif records:
        table("", _COLUMNS, [_row(record) for record in records])
    return 0 if len(kept) == len(frames) else 1


def _check_output(arguments: argparse.Namespace) -> None:
    """Refuse an output that cannot be written, or that would replace an input."""
    from pathlib import Path

    from halocline.errors import UsageError
    from halocline.structures.write import check_output

    if arguments.output is None:
        return
    output = Path(arguments.output)
    check_output(output)
    if output.resolve() in {Path(name).resolve() for name in arguments.structures}:
        raise UsageError(f"--output {output} is one of the inputs; choose another name.")


def _complainer(arguments: argparse.Namespace) -> Callable[[str], AbstractContextManager[None]]:
    """Make the block in which a structure that cannot be evaluated ends in a sentence that says which it is."""
    from contextlib import contextmanager, nullcontext

    from halocline.cli.output import say
    from halocline.errors import StructureError, UnknownElementError

    explained = False

    @contextmanager
    def complain(where: str) -> Iterator[None]:
        nonlocal explained
        try:
            with nullcontext() if explained else default_explained(arguments), located(where):
                yield
        except StructureError as error:
            explained = explained or isinstance(error, UnknownElementError)
            say(f"halocline: {error}")

    return complain


def _say_outside(records: list[dict[str, Any]], results: list[Result]) -> None:
    """Say once of each way in which frames lie outside of the training, in which frame first and in how many."""
    from halocline.cli.output import say

    found: dict[str, list[str]] = {}
    for record, result in zip(records, results, strict=True):
        for remark in result.outside:
            found.setdefault(remark.key, []).append(f"{record['file']}, frame {record['frame']}: {remark.warning}")
    for first, *others in found.values():
        more = f", and likewise in {len(others)} of the other frames" if others else ""
        say(f"halocline: {first}{more}.")


def _record(name: str, index: int, atoms: Atoms, result: Result) -> dict[str, Any]:
    """All numbers of a frame, in eV, eV/Å, eV/Å³ and GPa.

    Raises:
        NotFiniteError: the greatest force or the pressure is too large for a number.
    """
    import numpy as np
    from ase import units

    from halocline.errors import NotFiniteError

    with np.errstate(over="ignore"):
        force = float(np.linalg.norm(result.forces, axis=1).max())
        pressure = None if result.stress is None else -float(np.trace(result.stress)) / 3.0 / units.GPa
    for quantity, value in (("greatest force", force), ("pressure", pressure)):
        if value is not None and not np.isfinite(value):
            raise NotFiniteError(f"The {quantity} is {value}, which is not finite.")
    return {
        "file": name,
        "frame": index,
        "formula": atoms.get_chemical_formula(),
        "atoms": len(atoms),
        "energy": result.energy,
        "energy_per_atom": result.energy / len(atoms),
        "max_force": force,
        "pressure": pressure,
        "energies": result.energies,
        "forces": result.forces,
        "stress": result.stress,
        "outside": [remark.text for remark in result.outside],
    }


def _row(record: dict[str, Any]) -> list[object]:
    """The cells of the table; energies to 0.01 meV."""
    pressure = "" if record["pressure"] is None else f"{record['pressure']:.4f}"
    cells = [record[name] for name in ("file", "frame", "formula", "atoms")]
    numbers = (f"{record[name]:.5f}" for name in ("energy", "energy_per_atom", "max_force"))
    return [*cells, *numbers, pressure]


def _write(path: str, frames: list[Atoms], results: list[Result]) -> None:
    from pathlib import Path

    from halocline.files import write_atomically
    from halocline.structures.constraints import warn_of_unwritable
    from halocline.structures.write import extended_xyz, labelled

    for atoms in frames:
        warn_of_unwritable(atoms)
    names = ("energy", "energies", "forces", "stress")
    labels = ({name: getattr(result, name) for name in names} for result in results)
    text = extended_xyz([labelled(*pair) for pair in zip(frames, labels, strict=True)])
    write_atomically(Path(path), text)
