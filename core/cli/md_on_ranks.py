"""``halocline md`` with ``--engine ranks``: atoms live on the ranks of ``ddp``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from halocline.cli.options import (
    default_explained,
    evaluation_options,
    load_potential,
    located,
    say_replaced,
)

if TYPE_CHECKING:
    from halocline.dynamics.residents import Houses
    from halocline.potential.potential import Potential

#: Options that mean nothing here, with what they are when they are not given.
_UNUSED: Final = {
    "collect": None,
    "at_spread": None,
    "collect_interval": None,
    "stop_at_spread": None,
}

#: Options of the processes; others say how the atoms are divided that these hold.
_OF_PROCESSES: Final = ("backend", "dtype", "device", "halo", "compress")


def md(arguments: argparse.Namespace) -> int:
    """Run or resume molecular dynamics, and print what it amounts to.

    Raises:
        HaloclineError: an input is no good, or the run had to stop.
    """
    from contextlib import closing

    from halocline.cli.md import number_of_steps, report, resumes, settings_of, shower
    from halocline.cli.output import progress, say
    from halocline.cli.signals import held_back
    from halocline.dynamics import RunFiles
    from halocline.dynamics.resident_run import open_houses, run_resident
    from halocline.dynamics.settings import NEAREST
    from halocline.partition import Division
    from halocline.structures.read import read_frames

    _refuse_unused(arguments)
    settings, steps = settings_of(arguments), number_of_steps(arguments)
    output = RunFiles(Path(arguments.output))
    atoms = read_frames(arguments.structure, arguments.format)[-1]
    potential = load_potential(arguments)
    options = evaluation_options(arguments)
    division = Division.parse(options["partition"], options["memory"])
    # Only the driver of several ranks goes on.
    houses = open_houses(potential, **{name: options[name] for name in _OF_PROCESSES})
    say_replaced(houses.replaced)
    resume = resumes(arguments, output, restarted=houses.restarted)
    bar = progress(steps, f"md {arguments.ensemble}")
    named = located(arguments.structure)
    with closing(houses), default_explained(arguments), named, held_back() as interruption, bar as advance:
        outcome = run_resident(
            atoms,
            potential,
            houses.residents(division),
            settings,
            output,
            steps=steps,
            checkpoint_interval=arguments.checkpoint_interval,
            identity=_identity(options, potential, houses),
            resume=resume,
            overwrite=arguments.overwrite,
            minimum_distance=NEAREST if arguments.minimum_distance is None else arguments.minimum_distance,
            head=arguments.head,
            direct_forces=arguments.direct_forces,
            on_step=shower(advance),
            interrupted=lambda: bool(interruption),
        )
    report(arguments, output, outcome, len(atoms), settings, houses.replaced)
    if not outcome.finished:
        say(f"halocline: interrupted at step {outcome.step} of {steps}; the same command with --resume goes on.")
    return 0 if outcome.finished else interruption.exit_status


def _refuse_unused(arguments: argparse.Namespace) -> None:
    from halocline.errors import UsageError

    for name, default in _UNUSED.items():
        if getattr(arguments, name) != default:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is nothing that --engine ranks does: leave it out, or take --engine ase.")


def _identity(options: dict[str, Any], potential: Potential, houses: Houses) -> dict[str, Any]:
    """What must not change when the run goes on: not the number of ranks, nor how long one waits for them."""
    from halocline.program.replacement import identity_of
    from halocline.spec import Spec

    inner = Spec.parse(options["backend"]).options.get("inner", "torch")
    kept = options | {"backend": f"ddp:inner={inner}"}
    return kept | {"model": potential.digest()} | identity_of(houses.replaced)
