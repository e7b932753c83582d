"""``halocline relax``: relax atoms and cell."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from halocline.cli.engines import add_engine
from halocline.cli.options import (
    add_format,
    add_model_options,
    default_explained,
    evaluation_options,
    load_potential,
    located,
    say_replaced,
)
from halocline.dynamics.goal import OPTIMISERS, Goal

if TYPE_CHECKING:
    from pathlib import Path

    from halocline.dynamics.relaxation import RelaxationStep
    from halocline.program.replacement import Replacement


_GOAL = Goal()


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "structure",
        metavar="STRUCTURE",
        help="the start: last frame of a file, all of them with --engine torch-sim; - is extxyz on stdin",
    )
    add_format(parser)
    add_model_options(parser, several=True)
    group = parser.add_argument_group("relaxation")
    group.add_argument("--optimiser", choices=OPTIMISERS, help=f"[{_GOAL.optimiser}; fire with torch-sim]")
    group.add_argument(
        "--fmax", type=float, default=_GOAL.fmax, metavar="F", help="largest force left, eV/Å [%(default)s]"
    )
    group.add_argument("--max-steps", type=int, default=_GOAL.max_steps, metavar="N", help="[%(default)s]")
    group.add_argument("--cell", action="store_true", help="relax the cell, too")
    group.add_argument(
        "--hydrostatic", action="store_true", help="of the cell only the volume; it keeps its shape"
    )
    group.add_argument(
        "--pressure", type=float, default=_GOAL.pressure, metavar="GPA", help="on the cell [%(default)s]"
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o",
        "--output",
        default="relaxed.extxyz",
        metavar="FILE",
        help="the relaxed structure; steps go to FILE's name with -steps.extxyz and .csv [%(default)s]",
    )
    group.add_argument("--overwrite", action="store_true", help="replace a relaxation of the same name")
    group.add_argument("--plot", action="store_true", help="draw the log into a PNG beside it")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    add_engine(parser, "relax")


def run_one(arguments: argparse.Namespace) -> int:
    """Relax a structure, and print how far it came.

    Raises:
        HaloclineError: an input is no good, the relaxation had to stop, or it did not converge.
    """
    from contextlib import closing
    from pathlib import Path

    from halocline.cli.output import progress, say
    from halocline.cli.signals import held_back
    from halocline.dynamics.records import frame_bytes
    from halocline.dynamics.relaxation import relax
    from halocline.files import write_atomically
    from halocline.structures.read import read_frames

    goal = goal_of(arguments, optimiser=_GOAL.optimiser)
    files = output_files(Path(arguments.output), overwrite=arguments.overwrite)
    atoms = read_frames(arguments.structure, arguments.format)[-1]
    calculator = load_potential(arguments).calculator(**evaluation_options(arguments), head=arguments.head)
    replaced = calculator.replaced
    say_replaced(replaced)
    bar = progress(goal.max_steps, f"relax {goal.optimiser}")
    named = located(arguments.structure)
    with closing(calculator), default_explained(arguments), named, held_back() as interruption, bar as advance:
        relaxed, last = relax(
            atoms,
            calculator,
            goal,
            path=files["trajectory"],
            log=files["log"],
            on_step=lambda step: advance(),
            interrupted=lambda: bool(interruption),
        )
    write_atomically(files["structure"], frame_bytes(relaxed, step=last.step))
    _report(arguments, files, goal, last, replaced)
    if last.converged:
        return 0
    say(
        f"halocline: not converged after {last.step} steps: the largest force is {last.fmax:.4g} eV/Å, "
        f"not {goal.fmax:g}. Go on from {files['structure']}, with more --max-steps or another --optimiser."
    )
    return interruption.exit_status or 1


def goal_of(arguments: argparse.Namespace, *, optimiser: str) -> Goal:
    """What the options ask for.

    Args:
        arguments: of the command.
        optimiser: where none is named.

    Raises:
        UsageError: it makes no sense.
    """
    names = ("fmax", "max_steps", "cell", "hydrostatic", "pressure")
    return Goal(optimiser=arguments.optimiser or optimiser, **{name: getattr(arguments, name) for name in names})


def output_files(structure: Path, *, overwrite: bool) -> dict[str, Path]:
    """The files of a relaxation, none of which may be there already unless they may be replaced.

    Raises:
        UsageError: one is there, or the name is none of a structure.
    """
    from halocline.errors import UsageError
    from halocline.structures.write import check_output

    check_output(structure)
    files = {
        "structure": structure,
        "trajectory": structure.with_name(f"{structure.stem}-steps.extxyz"),
        "log": structure.with_suffix(".csv"),
        "plot": structure.with_suffix(".png"),
    }
    there = [path for name, path in files.items() if name != "plot" and path.exists()]
    if there and not overwrite:
        raise UsageError(f"{there[0]} exists: replace it with --overwrite or choose another --output.")
    return files


def _report(
    arguments: argparse.Namespace,
    files: dict[str, Path],
    goal: Goal,
    last: RelaxationStep,
    replaced: tuple[Replacement, ...],
) -> None:
    from halocline.cli.output import emit_json
    from halocline.cli.tables import facts
    from halocline.dynamics.plot import plot_relaxation
    from halocline.program.replacement import kernels_of

    shown = {name: path for name, path in files.items() if name != "plot"}
    if arguments.plot:
        plot_relaxation(files["log"], files["plot"], goal, title=arguments.structure)
        shown["plot"] = files["plot"]
    numbers: dict[str, object] = {
        "converged": last.converged,
        "steps": last.step,
        "energy_eV": last.energy,
        "fmax_eV_per_A": last.fmax,
    }
    if last.volume is not None:
        numbers.update(pressure_GPa=last.pressure, volume_A3=last.volume)
    if arguments.json:
        emit_json(numbers | shown | {"kernels": kernels_of(replaced)})
    else:
        facts("", {**{name: _cell(value) for name, value in numbers.items()}, **shown})


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5f}" if isinstance(value, float) else str(value)
