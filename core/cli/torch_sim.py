"""``halocline relax`` and ``halocline md`` with ``--engine torch-sim``: all structures of a file."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cli.options import (
    default_explained,
    evaluation_options,
    load_potential,
    located,
    say_replaced,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halocline.dynamics import RunFiles, Settings
    from halocline.engines.torch_sim.dynamics import ManyMoved
    from halocline.engines.torch_sim.model import HaloclineModel
    from halocline.engines.torch_sim.relaxation import Relaxed

_RELAXED = ("structure", "formula", "atoms", "converged", "steps", "E (eV)", "max |F| (eV/Å)", "p (GPa)", "V (Å³)")
_MOVED = {
    "structure": "structure",
    "atoms": "atoms",
    "steps": "steps",
    "potential_eV": "E (eV)",
    "temperature_K": "T (K)",
    "temperature_std_K": "± T (K)",
    "pressure_GPa": "p (GPa)",
    "pressure_std_GPa": "± p (GPa)",
}
#: Options that torch-sim's runs have no use for, with what they are when they are not given.
_NOT_OF_RELAX = {"plot": False}
_NOT_OF_MD = {
    "plot": False,
    "resume": False,
    "collect": None,
    "at_spread": None,
    "collect_interval": None,
    "stop_at_spread": None,
}


def relax(arguments: argparse.Namespace) -> int:
    """Relax all structures of a file together, and print how far each came.

    Raises:
        HaloclineError: an input is no good, or a file cannot be written.
    """
    _require_torch_sim()
    from contextlib import closing

    from halocline.cli.output import progress, say
    from halocline.cli.relax import goal_of, output_files
    from halocline.cli.signals import held_back
    from halocline.dynamics.records import frame_bytes
    from halocline.engines.torch_sim.followed import BATCH_ATOMS
    from halocline.engines.torch_sim.relaxation import relax_many
    from halocline.files import write_atomically
    from halocline.structures.read import read_frames

    _refuse(arguments, _NOT_OF_RELAX)
    goal = goal_of(arguments, optimiser="fire")
    files = output_files(Path(arguments.output), overwrite=arguments.overwrite)
    structures = read_frames(arguments.structure, arguments.format)
    model = _model(arguments, stress=goal.cell)
    bar = progress(len(structures), "relax", "structures")
    named = located(arguments.structure)
    with closing(model), default_explained(arguments), named, held_back() as interruption, bar as advance:
        relaxed = relax_many(
            structures,
            model,
            goal,
            path=files["trajectory"],
            log=files["log"],
            batch_atoms=_batch_atoms(arguments, BATCH_ATOMS),
            on_end=lambda each: advance(),
            interrupted=lambda: bool(interruption),
        )
    ends = [
        frame_bytes(each.atoms, structure=each.number, step=each.last.step, converged=each.last.converged)
        for each in relaxed
    ]
    write_atomically(files["structure"], b"".join(ends))
    _report_relaxed(arguments, files, relaxed, model)
    for each in relaxed:
        if each.failure is not None:
            say(f"halocline: structure {each.number} ended after {each.last.step} steps: {each.failure}")
    missing = sum(not each.last.converged for each in relaxed)
    if not missing:
        return 0
    say(
        f"halocline: {missing} of {len(relaxed)} structures not converged to {goal.fmax:g} eV/Å. "
        f"Go on from {files['structure']}, with more --max-steps."
    )
    return interruption.exit_status or 1


def md(arguments: argparse.Namespace) -> int:
    """Move all structures of a file together, and print what the run of each amounts to.

    Raises:
        HaloclineError: an input is no good, or a file cannot be written.
    """
    _require_torch_sim()
    from contextlib import closing

    from halocline.cli.md import number_of_steps, settings_of
    from halocline.cli.output import progress, say
    from halocline.cli.signals import held_back
    from halocline.dynamics import RunFiles
    from halocline.dynamics.settings import CHECKPOINT_INTERVAL, NEAREST
    from halocline.engines.torch_sim.dynamics import run_many
    from halocline.engines.torch_sim.followed import BATCH_ATOMS
    from halocline.structures.read import read_frames

    _refuse(arguments, _NOT_OF_MD | {"checkpoint_interval": CHECKPOINT_INTERVAL})
    settings, steps = settings_of(arguments), number_of_steps(arguments)
    output = RunFiles(Path(arguments.output))
    structures = read_frames(arguments.structure, arguments.format)
    model = _model(arguments, stress=False)
    bar = progress(len(structures) * (steps + 1), f"md {settings.ensemble}")
    named = located(arguments.structure)
    with closing(model), default_explained(arguments), named, held_back() as interruption, bar as advance:
        outcome = run_many(
            structures,
            model,
            settings,
            output,
            steps=steps,
            batch_atoms=_batch_atoms(arguments, BATCH_ATOMS),
            overwrite=arguments.overwrite,
            direct_forces=arguments.direct_forces,
            minimum_distance=NEAREST if arguments.minimum_distance is None else arguments.minimum_distance,
            on_steps=advance,
            interrupted=lambda: bool(interruption),
        )
    _report_moved(arguments, output, outcome, settings, model)
    lost = [each for each in outcome.moved if each.failure is not None]
    for each in lost:
        say(
            f"halocline: structure {each.number} was taken out after step {each.step} "
            f"({max(each.step, 0) * settings.timestep:g} fs): {each.failure}."
        )
    if not outcome.finished:
        say(
            "halocline: interrupted; frames and log up to here are whole, and runs of torch-sim cannot be resumed."
        )
        return interruption.exit_status
    return 1 if lost else 0


def _require_torch_sim() -> None:
    """Say what is missing before a module fails that imports it.

    Raises:
        UsageError: torch-sim is not installed.
    """
    importlib.import_module("halocline.engines.torch_sim.model")


def _refuse(arguments: argparse.Namespace, unused: Mapping[str, object]) -> None:
    from halocline.errors import UsageError

    for name, default in unused.items():
        if getattr(arguments, name) != default:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"--engine torch-sim has no {option}: leave it out, or take --engine ase.")


def _batch_atoms(arguments: argparse.Namespace, default: int) -> int:
    from halocline.errors import UsageError

    if arguments.batch_atoms is None:
        return default
    if arguments.batch_atoms < 1:
        raise UsageError(f"--batch-atoms must be at least 1, not {arguments.batch_atoms}.")
    return int(arguments.batch_atoms)


def _model(arguments: argparse.Namespace, *, stress: bool) -> HaloclineModel:
    from halocline.engines.torch_sim.model import HaloclineModel

    potential = load_potential(arguments)
    options = evaluation_options(arguments)
    model = HaloclineModel(potential, **options, head=arguments.head, stress=stress, errors="keep")
    say_replaced(model.replaced)
    return model


def _report_relaxed(
    arguments: argparse.Namespace, files: dict[str, Path], relaxed: list[Relaxed], model: HaloclineModel
) -> None:
    from halocline.cli.output import emit_json
    from halocline.cli.tables import facts, table
    from halocline.program.replacement import kernels_of

    shown = {name: files[name] for name in ("structure", "trajectory", "log")}
    rows = [
        {
            "structure": each.number,
            "formula": each.atoms.get_chemical_formula(),
            "atoms": len(each.atoms),
            "converged": each.last.converged,
            "steps": each.last.step,
            "energy_eV": each.last.energy,
            "fmax_eV_per_A": each.last.fmax,
            "pressure_GPa": each.last.pressure,
            "volume_A3": each.last.volume,
        }
        for each in relaxed
    ]
    if arguments.json:
        kept = [row | {"failure": each.failure} for row, each in zip(rows, relaxed, strict=True)]
        emit_json({"structures": kept, **shown, "kernels": kernels_of(model.replaced)})
        return
    table("", _RELAXED, [[_cell(value) for value in row.values()] for row in rows])
    facts("", shown)


def _report_moved(
    arguments: argparse.Namespace,
    output: RunFiles,
    outcome: ManyMoved,
    settings: Settings,
    model: HaloclineModel,
) -> None:
    from halocline.cli.output import emit_json
    from halocline.cli.tables import facts, table
    from halocline.dynamics.records import read_log
    from halocline.dynamics.summary import averages
    from halocline.engines.torch_sim.dynamics import COLUMNS
    from halocline.program.replacement import kernels_of

    log = read_log(output.log, COLUMNS)
    rows: list[dict[str, Any]] = []
    for each in outcome.moved:
        own = log["structure"] == each.number
        numbers = averages({name: column[own] for name, column in log.items()})
        rows.append({"structure": each.number, "atoms": each.atoms, "steps": each.step, **numbers})
    speed = 1e6 * outcome.seconds / outcome.atom_steps if outcome.atom_steps else None
    shown = {"trajectory": output.trajectory, "log": output.log}
    if arguments.json:
        kept = [row | {"failure": each.failure} for row, each in zip(rows, outcome.moved, strict=True)]
        told = {"structures": kept, "timestep_fs": settings.timestep, "finished": outcome.finished}
        emit_json({**told, "us_per_atom_step": speed, **shown, "kernels": kernels_of(model.replaced)})
        return
    table("", list(_MOVED.values()), [[_cell(row[name]) for name in _MOVED] for row in rows])
    facts("", {"µs/atom/step": "" if speed is None else f"{speed:.2f}", **shown})


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5f}" if isinstance(value, float) else str(value)
