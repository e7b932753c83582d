"""``halocline bench``: time the backends on a model, or see what precision policies cost and lose."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from halocline.cli.options import add_compress, add_device, add_dtype, add_model_choice, model_name, spec_help

if TYPE_CHECKING:
    from halocline.bench import Request, Row

#: The file name that stands for standard output.
STANDARD_OUTPUT = "-"

#: Of backends.
SIZES = "100,1000,10000,100000"

_COLUMNS = (
    "backend",
    "atoms",
    "µs/atom/step",
    "mean",
    "× eager torch",
    "start (s)",
    "peak memory (MB)",
    "steps",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_model_choice(parser.add_argument_group("model"))
    group = parser.add_argument_group("what to time")
    group.add_argument(
        "--backend", action="append", metavar="SPEC", help=f"{spec_help('executor')}; repeatable [all usable]"
    )
    add_dtype(group)
    add_device(group)
    add_compress(group)
    group.add_argument(
        "--atoms",
        metavar="N,N,…",
        help=f"sizes, as far as the memory reaches [{SIZES}]",
    )
    group.add_argument("--steps", type=int, default=20, metavar="N", help="of dynamics, for each [%(default)s]")
    group = parser.add_argument_group("structure")
    group.add_argument("--structure", metavar="FILE", help="repeat its last frame [a disordered box]")
    group.add_argument(
        "--density", type=float, default=0.1, metavar="ρ", help="of the box, atoms/Å³ [%(default)s, as water]"
    )
    group = parser.add_argument_group("precision")
    group.add_argument(
        "--precision",
        nargs="*",
        metavar="POLICY",
        help="compare precision policies instead, such as float32:radial=bfloat16,sums=float64 [a choice of them]",
    )
    group.add_argument(
        "--drift", type=float, metavar="PS", help="of dynamics in the nve ensemble [2 with --structure, else none]"
    )
    group.add_argument("--plot", metavar="FILE", help="write the trade of time for accuracy as a PNG")
    parser.add_argument(
        "--json",
        nargs="?",
        const=STANDARD_OUTPUT,
        metavar="FILE",
        help="write everything as JSON [to standard output]",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print a table; status 1 if a backend that was asked for could not be measured.

    Raises:
        HaloclineError: an option is no good.
    """
    if arguments.precision is not None:
        from halocline.cli.bench_precision import run_precision

        return run_precision(arguments)
    from halocline.bench import measure_all
    from halocline.cli.output import progress, say
    from halocline.plugin import registry

    _refuse_of_precision(arguments)
    request, sizes = request_of(arguments), sizes_of(arguments.atoms or SIZES)
    backends = arguments.backend or list(registry().names("executor"))
    check_backends(backends)
    check_output(arguments.json)
    rows = []
    with progress(len(sizes) * len(backends), "measuring") as advance:
        for row in measure_all(request, backends, sizes):
            rows.append(row)
            advance()
    if arguments.json:
        _write(arguments.json, request, rows)
    if arguments.json != STANDARD_OUTPUT:
        _show(rows)
    for row in rows:
        if row.reason:
            say(f"{row.backend}, {row.atoms} atoms: {row.reason}")
    return 0 if {row.backend for row in rows if row.measurement} >= set(arguments.backend or ()) else 1


def request_of(arguments: argparse.Namespace) -> Request:
    """What all measurements have in common; each adds its backend and its size.

    Raises:
        UsageError: a density or a number of steps is none.
    """
    from halocline.bench import Request
    from halocline.errors import UsageError

    if not (arguments.density > 0 and arguments.steps >= 1):
        raise UsageError("--density must be above 0 and --steps at least 1.")
    return Request(
        model=model_name(arguments),
        prune=arguments.prune,
        backend="",
        dtype=arguments.dtype,
        device=arguments.device,
        atoms=0,
        density=arguments.density,
        structure=arguments.structure,
        steps=arguments.steps,
        compress=arguments.compress,
    )


def sizes_of(text: str) -> list[int]:
    """The numbers of atoms, increasing.

    Raises:
        UsageError: they are no numbers above 0, or one of them is there twice.
    """
    from halocline.errors import UsageError

    sizes = sorted({int(word) for word in text.split(",") if word.isdigit()})
    if len(sizes) != len(text.split(",")) or sizes[0] < 1:
        raise UsageError(f"--atoms must be different numbers above 0 with commas between them, not {text!r}.")
    return sizes


def _refuse_of_precision(arguments: argparse.Namespace) -> None:
    from halocline.errors import UsageError

    if arguments.drift is not None or arguments.plot:
        raise UsageError("--drift and --plot belong to --precision; say that, too, or leave them out.")


def check_backends(backends: list[str]) -> None:
    """Find out before minutes of work that a backend is not known.

    Raises:
        UsageError: one of them is not.
    """
    from halocline.plugin import registry
    from halocline.spec import Spec

    for backend in backends:
        registry().find("executor", Spec.parse(backend).name)


def check_output(output: str | None) -> None:
    """Find out before minutes of work that a file cannot be written.

    Raises:
        UsageError: its folder is not there.
    """
    from pathlib import Path

    from halocline.errors import UsageError

    if output and not Path(output).parent.is_dir():
        raise UsageError(f"The folder of --json {output} does not exist; make it first.")


def _write(output: str, request: Request, rows: list[Row]) -> None:
    """Write what was measured, on what, and with which versions."""
    from dataclasses import asdict

    common = {name: value for name, value in asdict(request).items() if name not in ("backend", "atoms")}
    write_report(output, {"request": common, "rows": [asdict(row) for row in rows]})


def write_report(output: str, measured: dict[str, Any]) -> None:
    """Write what was measured as JSON, with the machine that it was measured on."""
    import json
    from pathlib import Path

    from halocline.cli.output import emit_json
    from halocline.doctor import describe_machine
    from halocline.files import write_atomically

    report = {"machine": describe_machine(), **measured}
    if output == STANDARD_OUTPUT:
        emit_json(report)
    else:
        write_atomically(Path(output), json.dumps(report, indent=2, ensure_ascii=False).encode())


def _show(rows: list[Row]) -> None:
    from halocline.cli.tables import table

    table("", _COLUMNS, [_cells(row.backend, row.measurement) for row in rows if row.measurement])


def _cells(backend: str, measured: dict[str, Any]) -> tuple[object, ...]:
    return (
        backend,
        measured["atoms"],
        f"{measured['time']:.2f}",
        f"{measured['mean_time']:.2f}",
        f"{measured['ratio']:.2f}",
        f"{measured['start']:.2f}",
        f"{measured['memory'] / 1e6:.0f}",
        measured["steps"],
    )
