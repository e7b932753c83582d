"""``halocline md``: molecular dynamics."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from halocline.dynamics.settings import CHECKPOINT_INTERVAL, ENSEMBLES, NEAREST, THERMOSTATS, Settings
from halocline.dynamics.watch import COLLECT_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from halocline.cli.output import Advance
    from halocline.dynamics import DynamicsResult, RunFiles, StepRecord, Watch
    from halocline.potential.potential import Potential
    from halocline.program.replacement import Replacement

_SETTINGS = Settings()

#: Options that mean something in some ensembles only.
_MEANT_FOR = {
    "thermostat": ("nvt",),
    "relaxation_time": ("nvt", "npt"),
    "pressure": ("npt",),
    "barostat_time": ("npt",),
}
_DIGITS = {
    "potential_eV": 5,
    "temperature_K": 1,
    "pressure_GPa": 4,
    "max_force_std_eV_per_A": 4,
    "ns_per_day": 3,
    "us_per_atom_step": 2,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "structure",
        metavar="STRUCTURE",
        help="the start: last frame of a file, all of them with --engine torch-sim; - is extxyz on stdin",
    )
    add_format(parser)
    add_model_options(parser, several=True)
    _add_ensemble_options(parser.add_argument_group("ensemble"))
    _add_length_options(parser.add_argument_group("length and output"))
    _add_watch_options(parser.add_argument_group("where the members of a committee disagree"))
    add_engine(parser, "md")


def run_one(arguments: argparse.Namespace) -> int:
    """Run or resume molecular dynamics, and print what it amounts to.

    Raises:
        HaloclineError: an input is no good, or the run had to stop.
    """
    from contextlib import closing

    from halocline.cli.output import progress, say
    from halocline.cli.signals import held_back
    from halocline.dynamics import RunFiles, run_dynamics
    from halocline.structures.read import read_frames

    settings, watch = settings_of(arguments), _watch(arguments)
    output = RunFiles(Path(arguments.output), arguments.collect)
    steps = number_of_steps(arguments)
    atoms = read_frames(arguments.structure, arguments.format)[-1]
    potential = load_potential(arguments)
    calculator = potential.calculator(
        **evaluation_options(arguments), head=arguments.head
    )  # only the driver of several ranks goes on
    say_replaced(calculator.replaced)
    replaced = calculator.replaced
    resume = resumes(arguments, output, restarted=calculator.restarted)
    bar = progress(steps, f"md {arguments.ensemble}")
    named = located(arguments.structure)
    with closing(calculator), default_explained(arguments), named, held_back() as interruption, bar as advance:
        outcome = run_dynamics(
            atoms,
            calculator,
            settings,
            output,
            steps=steps,
            checkpoint_interval=arguments.checkpoint_interval,
            identity=_identity(arguments, potential, replaced),
            resume=resume,
            overwrite=arguments.overwrite,
            direct_forces=arguments.direct_forces,
            minimum_distance=NEAREST if arguments.minimum_distance is None else arguments.minimum_distance,
            watch=watch,
            on_step=shower(advance),
            interrupted=lambda: bool(interruption),
        )
    report(arguments, output, outcome, len(atoms), settings, replaced)
    if outcome.stopped is not None:
        say(f"halocline: ended as told: {outcome.stopped}. With a larger --stop-at-spread, --resume goes on.")
    if not outcome.finished:
        say(f"halocline: interrupted at step {outcome.step} of {steps}; the same command with --resume goes on.")
    return 0 if outcome.finished else interruption.exit_status


def _add_ensemble_options(group: Any) -> None:
    group.add_argument("--ensemble", default=_SETTINGS.ensemble, choices=ENSEMBLES, help="[%(default)s]")
    group.add_argument("--thermostat", choices=THERMOSTATS, help=f"of nvt [{_SETTINGS.thermostat}]")
    group.add_argument(
        "--temperature",
        type=_temperatures,
        default=(_SETTINGS.temperature, None),
        metavar="K[:K]",
        help=f"of the bath; 100:300 goes from one to the other over the run [{_SETTINGS.temperature:g}]",
    )
    group.add_argument("--ramp-time", type=float, metavar="PS", help="over this time instead, then constant")
    group.add_argument("--pressure", type=float, metavar="GPA", help=f"of npt [{_SETTINGS.pressure:g}]")
    group.add_argument("--timestep", type=float, default=_SETTINGS.timestep, metavar="FS", help="[%(default)s]")
    group.add_argument(
        "--relaxation-time",
        type=float,
        metavar="FS",
        help=f"of the thermostat, 1/friction [{_SETTINGS.relaxation_time:g}]",
    )
    group.add_argument(
        "--direct-forces", action="store_true", help="nve with forces that are no derivatives: energy drifts"
    )
    group.add_argument(
        "--barostat-time", type=float, metavar="FS", help=f"of the barostat [{_SETTINGS.barostat_time:g}]"
    )
    group.add_argument("--seed", type=int, default=_SETTINGS.seed, help="of velocities and bath [%(default)s]")


def _add_length_options(group: Any) -> None:
    length = group.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, metavar="N", help="length of the run, restarts included")
    length.add_argument("--time", type=float, metavar="PS", help="the same in ps")
    group.add_argument(
        "-o", "--output", default="md", metavar="PREFIX", help="writes PREFIX.extxyz, .csv, .npz [%(default)s]"
    )
    for option, default, what in (
        ("--interval", _SETTINGS.frame_interval, "frames"),
        ("--log-interval", _SETTINGS.log_interval, "log lines"),
        ("--checkpoint-interval", CHECKPOINT_INTERVAL, "checkpoints"),
    ):
        text = f"steps between {what} [%(default)s]"
        group.add_argument(option, type=int, default=default, metavar="N", help=text)
    group.add_argument(
        "--minimum-distance",
        type=float,
        metavar="FRACTION",
        help="stop where atoms come nearer than this part of the shortest distance in training; 0: never "
        f"[{NEAREST:g}]",
    )
    start = group.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on from PREFIX.npz, exactly")
    start.add_argument("--overwrite", action="store_true", help="replace a run of the same PREFIX")
    group.add_argument("--plot", action="store_true", help="draw the log into PREFIX.png")
    group.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_watch_options(group: Any) -> None:
    group.add_argument("--collect", type=Path, metavar="FILE", help="extended XYZ of frames that want labels")
    group.add_argument(
        "--at-spread", type=float, metavar="EV_PER_A", help="collect frames where a force spreads by so much"
    )
    group.add_argument(
        "--collect-interval",
        type=int,
        metavar="N",
        help=f"fewest steps between two that are collected [{COLLECT_INTERVAL}]",
    )
    group.add_argument(
        "--stop-at-spread", type=float, metavar="EV_PER_A", help="end the run where a force spreads by so much"
    )


def _watch(arguments: argparse.Namespace) -> Watch:
    """What the options say of disagreement, refused where one of them means nothing without another."""
    from halocline.dynamics import Watch
    from halocline.errors import UsageError
    from halocline.structures.write import check_output

    if (arguments.collect is None) != (arguments.at_spread is None):
        raise UsageError("--collect FILE and --at-spread belong together: give both, or none.")
    if arguments.collect is None and arguments.collect_interval is not None:
        raise UsageError("--collect-interval means nothing without --collect; leave it out.")
    if arguments.collect is not None:
        check_output(arguments.collect, "--collect")
    return Watch(
        collect_at=arguments.at_spread,
        collect_interval=COLLECT_INTERVAL if arguments.collect_interval is None else arguments.collect_interval,
        stop_at=arguments.stop_at_spread,
    )


def shower(advance: Advance) -> Callable[[StepRecord], None]:
    """Make the function that moves a progress bar to a step; a resumed run starts where it was."""
    shown = 0

    def show(sample: StepRecord) -> None:
        nonlocal shown
        advance(sample.step - shown)
        shown = sample.step

    return show


def _temperatures(text: str) -> tuple[float, float | None]:
    """Read one temperature, or the two ends of a ramp; argparse reports a ValueError."""
    first, ramps, last = text.partition(":")
    return float(first), float(last) if ramps else None


_temperatures.__name__ = "temperature"  # what argparse calls it where it is none


def _ramp_steps(arguments: argparse.Namespace) -> int | None:
    """Steps of the ramp of temperature, by default those of the whole run; None if there is no ramp."""
    from halocline.errors import UsageError

    if arguments.temperature[1] is None:
        if arguments.ramp_time is not None:
            raise UsageError("--ramp-time needs the two ends of a ramp, such as --temperature 100:300.")
        return None
    if arguments.ramp_time is None:
        return number_of_steps(arguments)
    if not 0.0 < arguments.ramp_time < float("inf"):
        raise UsageError(f"--ramp-time must be finite and greater than 0, not {arguments.ramp_time!r} ps.")
    steps: float = arguments.ramp_time * 1000.0 / arguments.timestep
    return max(1, round(steps))


def settings_of(arguments: argparse.Namespace) -> Settings:
    """What the options ask for.

    Raises:
        UsageError: it makes no sense.
    """
    from dataclasses import replace

    from halocline.errors import UsageError

    given = {name: value for name in _MEANT_FOR if (value := getattr(arguments, name)) is not None}
    for name in given:
        if arguments.ensemble not in _MEANT_FOR[name]:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} means nothing in the {arguments.ensemble} ensemble; leave it out.")
    constant = Settings(
        ensemble=arguments.ensemble,
        temperature=arguments.temperature[0],
        timestep=arguments.timestep,
        seed=arguments.seed,
        frame_interval=arguments.interval,
        log_interval=arguments.log_interval,
        **given,
    )
    return replace(constant, final_temperature=arguments.temperature[1], ramp_steps=_ramp_steps(arguments))


def number_of_steps(arguments: argparse.Namespace) -> int:
    """Steps of the whole run.

    Raises:
        UsageError: they are fewer than none.
    """
    from halocline.errors import UsageError

    steps: float = arguments.steps if arguments.time is None else arguments.time * 1000.0 / arguments.timestep
    if not 0 <= steps < float("inf") or arguments.checkpoint_interval < 1:
        raise UsageError("--steps or --time must not be negative, --checkpoint-interval must be at least 1.")
    return round(steps)


def resumes(arguments: argparse.Namespace, output: RunFiles, *, restarted: bool) -> bool:
    """As told; and where torchrun has started all ranks anew, the same command goes on from its checkpoint."""
    from halocline.cli.output import say

    if arguments.resume or not restarted or not output.resumable:
        return bool(arguments.resume)
    say(f"halocline: started anew; the run goes on from {output.checkpoint}.")
    return True


def _identity(
    arguments: argparse.Namespace, potential: Potential, replaced: tuple[Replacement, ...]
) -> dict[str, Any]:
    from halocline.program.replacement import identity_of

    return evaluation_options(arguments) | {"model": potential.digest()} | identity_of(replaced)


def report(
    arguments: argparse.Namespace,
    output: RunFiles,
    outcome: DynamicsResult,
    atoms: int,
    settings: Settings,
    replaced: tuple[Replacement, ...],
) -> None:
    """Print what a run amounts to, as a table or as JSON, and draw it if that is asked for."""
    from halocline.cli.output import emit_json
    from halocline.cli.tables import facts
    from halocline.dynamics.plot import plot_log
    from halocline.dynamics.summary import summarise
    from halocline.program.replacement import kernels_of

    summary = summarise(output.log, outcome, atoms=atoms, timestep=settings.timestep)
    files = {**output.appended, "checkpoint": output.checkpoint}
    if arguments.plot:
        title = f"{arguments.structure}: {settings.ensemble}, {settings.timestep:g} fs"
        plot_log(output.log, output.plot, settings, title=title)
        files["plot"] = output.plot
    if arguments.json:
        emit_json(summary | files | {"kernels": kernels_of(replaced)})
    else:
        facts("", {**dict(_rows(summary)), **files})


def _rows(summary: dict[str, Any]) -> list[tuple[str, Any]]:
    """The lines of the result table; what does not exist is left out."""

    def number(name: str) -> str | None:
        value = summary[name]
        return None if value is None else f"{value:.{_DIGITS.get(name, 1)}f}"

    def spread(name: str, deviation: str) -> str | None:
        mean = number(name)
        return None if mean is None else f"{mean} ± {summary[deviation]:.{_DIGITS[name]}f}"

    rows: list[tuple[str, Any]] = [
        ("steps", f"{summary['steps']} ({summary['time_fs'] / 1000:g} ps)"),
        ("atoms", str(summary["atoms"])),
        ("potential energy (eV)", number("potential_eV")),
        ("temperature (K), mean ± std", spread("temperature_K", "temperature_std_K")),
        ("pressure (GPa), mean ± std", spread("pressure_GPa", "pressure_std_GPa")),
        ("largest spread of a force in the committee (eV/Å)", number("max_force_std_eV_per_A")),
        ("frames collected", summary["collected_frames"]),
        ("steps/s", number("steps_per_s")),
        ("ns/day", number("ns_per_day")),
        ("µs/atom/step", number("us_per_atom_step")),
    ]
    return [(name, value) for name, value in rows if value is not None]
