"""``halocline bench --precision``: what precision policies cost, and what they lose."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from halocline.bench.precision import PolicyRow
    from halocline.bench.request import Request
    from halocline.potential.potential import Potential

#: ps of dynamics, and atoms of a structure that is made up, unless said otherwise.
_DRIFT: Final = 2.0
_ATOMS: Final = 200

_COLUMNS: Final = (
    *("policy", "× f32", "ms", "±", "MB", "ΔE max", "ΔE rms", "ΔF max", "ΔF rms", "curl", "drift", "fluct."),
)
_LEGEND: Final = """
× f32: CPU time by that of float32, in turns; ms and ±: CPU time of one step, median and distance of quartiles.
ΔE in eV/atom and ΔF in eV/Å: from float64, over 8 structures. curl: the part of the change of forces along closed
loops that no energy explains. drift in meV/atom/ps and fluct. in meV/atom: total energy in the nve ensemble."""


def run_precision(arguments: argparse.Namespace) -> int:
    """Measure, and print a table; status 1 if a policy that was named could not be measured, or none could.

    Raises:
        HaloclineError: an option is no good.
    """
    from halocline.bench.precision import measure_policies
    from halocline.cli.bench import STANDARD_OUTPUT, check_output, write_report
    from halocline.cli.options import load_potential
    from halocline.cli.output import progress, say

    request, picoseconds = _request(arguments), _picoseconds(arguments)
    policies = _policies(arguments.precision, load_potential(arguments))
    check_output(arguments.json)
    _check_plot(arguments.plot)
    rows = []
    with progress(len(policies), "measuring") as advance:
        for row in measure_policies(request, policies, picoseconds):
            rows.append(row)
            advance()
    if arguments.json:
        write_report(arguments.json, _report(request, picoseconds, rows))
    if arguments.json != STANDARD_OUTPUT:
        _show(rows)
    if arguments.plot:
        _plot(arguments.plot, request, rows)
    for row in rows:
        stopped = row.measurement["stopped"] if row.measurement else ""
        if row.reason or stopped:
            say(f"{row.policy}: {row.reason or stopped}")
    failed = [row for row in rows if row.reason]
    return 1 if failed and (arguments.precision or len(failed) == len(rows)) else 0


def _request(arguments: argparse.Namespace) -> Request:
    """What all measurements have in common.

    Raises:
        UsageError: an option contradicts ``--precision``.
    """
    from dataclasses import replace

    from halocline.cli.bench import check_backends, request_of, sizes_of
    from halocline.errors import UsageError

    if arguments.dtype != "float32":
        raise UsageError("--precision compares dtypes; name policies after it and leave out --dtype.")
    if arguments.compress:
        raise UsageError("--precision compares dtypes of the plain model; leave out --compress.")
    backends = arguments.backend or ["torch"]
    sizes = sizes_of(arguments.atoms) if arguments.atoms else [1 if arguments.structure else _ATOMS]
    if len(backends) > 1 or len(sizes) > 1:
        raise UsageError("--precision takes one backend and one number of --atoms.")
    check_backends(backends)
    return replace(request_of(arguments), backend=backends[0], atoms=sizes[0])


def _picoseconds(arguments: argparse.Namespace) -> float:
    """Of dynamics: by default none of a structure that is made up, which is no start for any."""
    from halocline.errors import UsageError

    if arguments.drift is None:
        return _DRIFT if arguments.structure else 0.0
    if not 0.0 <= arguments.drift < float("inf"):
        raise UsageError(f"--drift must be a number of ps, or 0 for no dynamics, not {arguments.drift}.")
    return float(arguments.drift)


def _policies(named: list[str], potential: Potential) -> list[str]:
    """Those that were named, or a choice; each is known to suit the model.

    Raises:
        UsageError: one of them does not.
    """
    from halocline.bench.precision import default_policies
    from halocline.program.policy import PrecisionPolicy

    for policy in named:
        PrecisionPolicy.parse(policy).dtypes(potential.backbone)
    return named or default_policies(potential.backbone)


def _check_plot(plot: str | None) -> None:
    from pathlib import Path

    from halocline.figures import check_figure

    if plot:
        check_figure(Path(plot))


def _report(request: Request, picoseconds: float, rows: list[PolicyRow]) -> dict[str, Any]:
    from dataclasses import asdict
    from importlib.metadata import version

    common = {name: value for name, value in asdict(request).items() if name != "dtype"}
    return {
        "versions": {name: version(name) for name in ("torch", "numpy", "ase")},
        "request": common | {"picoseconds": picoseconds, "kernels": False},
        "rows": [asdict(row) for row in rows],
    }


def _show(rows: list[PolicyRow]) -> None:
    """The table, what its columns mean, and what ran."""
    from halocline.cli.output import emit
    from halocline.cli.tables import table

    measured = [(row.policy, row.measurement) for row in rows if row.measurement]
    if not measured:
        return
    table("", _COLUMNS, [_cells(*each) for each in measured])
    emit(_LEGEND)
    _, first = measured[0]
    loads = [each["load"] for _, each in measured]
    emit(
        f"\n{first['atoms']} atoms, {first['threads']} threads; stages as they are written, without kernels; "
        f"{first['warm_up']} steps of warm-up, {first['steps']} timed; "
        f"load of the machine {min(loads):.1f} to {max(loads):.1f}.\n"
    )
    table("what ran, derivatives included", ("policy", "stages", "dtypes"), list(_ran(measured)))


def _cells(policy: str, measured: dict[str, Any]) -> tuple[object, ...]:
    deviation, drift = measured["deviation"], measured["drift"]
    return (
        _short(policy),
        f"{measured['ratio']:.2f}",
        f"{measured['time']:.1f}",
        f"{measured['spread']:.1f}",
        f"{measured['memory'] / 1e6:.0f}",
        *(_scientific(deviation[name]) for name in ("energy_max", "energy_rms", "force_max", "force_rms")),
        _scientific(measured["curl"]["relative"]),
        _scientific(drift["drift"]) if drift else "",
        _scientific(drift["fluctuation"]) if drift else "",
    )


def _ran(measured: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, str, str]]:
    """Stages that computed in the same dtypes stand together."""
    rows = []
    for policy, measurement in measured:
        alike: dict[str, list[str]] = {}
        for stage, shares in measurement["ran"].items():
            described = ", ".join(
                name if share == 1.0 else f"{name} {_percent(share)}" for name, share in shares.items()
            )
            alike.setdefault(described, []).append(stage)
        rows += [(_short(policy), ", ".join(stages), described) for described, stages in alike.items()]
    return rows


def _percent(share: float) -> str:
    """What is there is never none, and what is not all never all."""
    return f"{'<' if share < 5e-4 else '>' if share > 0.9995 else ''}{min(99.9, max(0.1, 100 * share)):.1f} %"


def _short(policy: str) -> str:
    """Without the program's dtype where that is the usual one."""
    return policy.removeprefix("float32:")


def _scientific(value: float) -> str:
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(power)}" if value else "0"


def _plot(plot: str, request: Request, rows: list[PolicyRow]) -> None:
    from pathlib import Path

    from halocline.bench.precision.plot import plot_trade

    title = f"{request.model}, {request.structure or 'a disordered box'}, {request.backend}"
    plot_trade([(_short(row.policy), row.measurement) for row in rows if row.measurement], Path(plot), title=title)
