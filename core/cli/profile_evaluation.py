"""``halocline profile MODEL STRUCTURE``: where the time of one evaluation goes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from halocline.cli.options import (
    default_explained,
    evaluation_options,
    load_potential,
    located,
    model_name,
)

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.profile import Growth, Profile, Roof, Row
    from halocline.program.replacement import Replacement

#: Evaluations of each kind, unless told otherwise.
REPEATS = 15

_COLUMNS = ("stage", "work", "ms", "± %", "%", "MFLOP", "MB", "roof %", "dtype", "largest result")


def profile_structure(arguments: argparse.Namespace) -> int:
    """Evaluate a structure, of several sizes if asked to, and print what each kind of work of each stage takes.

    Raises:
        HaloclineError: an input is no good, or the structure cannot be evaluated.
    """
    from contextlib import closing

    import torch

    from halocline.cli.output import emit_json, progress, say
    from halocline.profile import growths, plot_profile, profile_evaluation
    from halocline.structures.read import read_frames

    sizes, repeats = _check(arguments)
    structure = read_frames(arguments.structure, arguments.format)[-1]
    potential, profiles = load_potential(arguments), []
    evaluator = potential.evaluator(**evaluation_options(arguments))
    with closing(evaluator), default_explained(arguments), located(arguments.structure):
        several = _of_sizes(structure, sizes)
        with progress(len(several), "profiling") as advance:
            for atoms in several:
                profiles.append(
                    profile_evaluation(
                        potential,
                        evaluator,
                        atoms,
                        dtype=getattr(torch, arguments.dtype),
                        repeats=repeats,
                        head=arguments.head,
                    )
                )
                advance()
    if arguments.plot is not None:
        plot_profile(profiles, arguments.plot, title=f"{model_name(arguments)}, {arguments.structure}")
    grown = growths(profiles) if len(profiles) > 1 else []
    if arguments.json:
        emit_json(_report(arguments, profiles, grown, evaluator.replaced))
    else:
        for profile in profiles:
            _show(profile)
        _show_growth(grown)
        show_replaced(evaluator.replaced)
    for profile in profiles:
        for doubt in profile.doubts:
            say(f"{profile.atoms} atoms: {doubt}")
    return 0


def _check(arguments: argparse.Namespace) -> tuple[list[int], int]:
    """Sizes and repeats.

    Raises:
        UsageError: they are none, or a figure cannot be written.
    """
    from halocline.errors import UsageError
    from halocline.figures import check_figure

    if arguments.plot is not None:
        check_figure(arguments.plot)
    repeats = REPEATS if arguments.repeats is None else arguments.repeats
    if repeats < 1:
        raise UsageError(f"--repeats must be at least 1, not {repeats}.")
    words = [] if arguments.sizes is None else arguments.sizes.split(",")
    if not all(word.isdigit() and int(word) for word in words):
        raise UsageError(
            f"--sizes must be numbers above 0 with commas between them, such as 100,1000, not {arguments.sizes!r}."
        )
    return sorted({int(word) for word in words}), repeats


def _of_sizes(structure: Atoms, sizes: Sequence[int]) -> list[Atoms]:
    """The structure, or repeated to at least each of these numbers of atoms; each number of atoms once.

    Raises:
        StructureError: it is not periodic.
    """
    from halocline.bench.structures import repeated

    made = [repeated(structure, size) for size in sizes] or [structure]
    return list({len(atoms): atoms for atoms in made}.values())


def _report(
    arguments: argparse.Namespace,
    profiles: Sequence[Profile],
    grown: Sequence[Growth],
    replaced: Sequence[Replacement],
) -> dict[str, Any]:
    """Everything, and what it has to be read with."""
    from dataclasses import asdict
    from importlib.metadata import version

    import torch

    from halocline.doctor import describe_machine

    return {
        "machine": describe_machine(),
        "versions": {name: version(name) for name in ("torch", "numpy", "ase")},
        "threads": torch.get_num_threads(),
        "model": model_name(arguments),
        "prune": arguments.prune,
        "evaluation": evaluation_options(arguments),
        "replaced": [asdict(each) for each in replaced],
        "structure": arguments.structure,
        "profiles": [profile.as_json() for profile in profiles],
        "growth": [
            {
                **each.place._asdict(),
                "atoms": each.atoms,
                "us_per_atom": [1e6 * seconds for seconds in each.per_atom],
                "exponent": each.exponent,
            }
            for each in grown
        ],
    }


def _show(profile: Profile) -> None:
    from halocline.cli.output import emit
    from halocline.cli.tables import table, wrapped

    table("", _COLUMNS, [_cells(row, profile) for row in profile.rows])
    dtypes = {name for row in profile.rows for name in row.dtype_names} or {"not seen"}
    seen = "" if profile.overhead is None else f"; timing operators made it {profile.overhead:.2f} times as long"
    emit(
        "\n"
        + wrapped(
            f"{profile.atoms} atoms, {1e3 * profile.median:.3f} ms ± {100 * profile.spread:.0f} %: the median of "
            f"{len(profile.seconds)} evaluations that nothing watched, after {profile.warm_up} to warm up, and "
            f"the range of their middle half; {1e3 * profile.cpu:.3f} ms of CPU time; threads: {profile.threads}. "
            f"Neighbours were searched in each. Dtypes that ran: {', '.join(sorted(dtypes))}. Sections and "
            f"operators make up {100 * profile.coverage:.0f} % of it, with what lies between operators "
            f"{100 * profile.total:.0f} %{seen}."
        )
    )
    if profile.roof is not None:
        emit(wrapped(_about_roof(profile.roof)))
    emit("")


def _cells(row: Row, profile: Profile) -> tuple[object, ...]:
    share, counted = row.roof_share(profile.roof), row.operators > 0
    return (
        row.place.stage,
        row.place.label,
        f"{1e3 * row.median:.3f}",
        f"{100 * row.spread:.0f}",
        f"{100 * row.median / profile.median:.1f}",
        f"{sum(row.flops.values()) / 1e6:.2f}" if counted and not row.uncounted else "",
        f"{row.bytes / 1e6:.2f}" if counted else "",
        f"{100 * share:.0f}" if share is not None else "",
        " ".join(row.dtype_names),
        "×".join(map(str, row.shape)),
    )


def _about_roof(roof: Roof) -> str:
    peaks = ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in roof.named.items())
    return (
        f"Roof, measured on the same threads: {peaks} by a product of matrices, {roof.bandwidth / 1e9:.1f} GB/s "
        "by a triad of vectors that no cache holds. Rows that caches serve exceed 100 %. ∂ is a derivative."
    )


def _show_growth(grown: Sequence[Growth]) -> None:
    from halocline.cli.output import emit
    from halocline.cli.tables import table

    if not grown:
        return
    emit("How the cost of an atom grows; a cost in proportion to the atoms has the exponent 1.\n")
    columns = ("stage", "work", *(f"µs at {atoms}" for atoms in grown[0].atoms), "exponent")
    rows = [
        (
            each.place.stage or "all",
            each.place.label or "all",
            *(f"{1e6 * seconds:.3f}" for seconds in each.per_atom),
            "–" if each.exponent is None else f"{each.exponent:.2f}",
        )
        for each in grown
    ]
    table("", columns, rows)


def show_replaced(replaced: Sequence[Replacement]) -> None:
    """The stages that kernels have taken the place of, if there are any."""
    from halocline.cli.output import emit
    from halocline.cli.tables import table

    if not replaced:
        return
    emit("")
    columns = ("stage", "kernel", "version", "exact", "allowed", "measured")
    rows = [
        (each.stage, each.kernel, each.version, _yes(each.exact), f"{each.stated:.0e}", f"{each.measured:.1e}")
        for each in replaced
    ]
    table("Replaced stages, with differences from the plain ones, of the largest value", columns, rows)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
