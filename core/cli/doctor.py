"""``halocline doctor``: which backends work here, and whether they compute right."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from halocline.doctor import Examination, SelfTest
    from halocline.doctor.kernels import KernelExamination

#: A first compilation on a busy machine takes most of it; the test itself takes a few seconds.
DEFAULT_LIMIT = 120.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--variants", action="store_true", help="test the variants that backends declare, too")
    parser.add_argument(
        "--limit",
        type=float,
        default=DEFAULT_LIMIT,
        metavar="SECONDS",
        help="after which a backend counts as hanging [%(default)s]",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Examine every backend and kernel; status 1 if one that should work does not, or computes wrong numbers.

    Raises:
        UsageError: the limit is no time.
    """
    from dataclasses import asdict

    from halocline.cli.output import emit_json
    from halocline.doctor import describe_machine
    from halocline.doctor.kernels import examine_kernels
    from halocline.doctor.native import describe_native, describe_triton
    from halocline.errors import UsageError

    if not arguments.limit > 0:
        raise UsageError(f"--limit must be a time above 0 s, not {arguments.limit:g}.")
    examinations = _examine_all(arguments.variants, arguments.limit)
    kernels = examine_kernels(arguments.limit)
    machine = describe_machine() | {
        "native code": describe_native(arguments.limit),
        "Triton": describe_triton(arguments.limit),
    }
    if arguments.json:
        backends = [asdict(each) for each in examinations]
        emit_json({"machine": machine, "backends": backends, "kernels": [asdict(each) for each in kernels]})
    else:
        _show(machine, examinations)
        _show_kernels(kernels)
    works = all(each.status in ("ok", "unusable") for each in examinations)
    return 0 if works and not any(each.reason for each in kernels) else 1


def _examine_all(variants: bool, limit: float) -> list[Examination]:
    from halocline.cli.output import progress
    from halocline.doctor import examine
    from halocline.plugin import registry

    examinations = []
    names = registry().names("executor")
    with progress(len(names), "examining") as advance:
        for name in names:
            first = examine(name, "", limit)
            others = [variant for variant in first.variants if variant] if variants else []
            examinations += [first, *(examine(name, variant, limit) for variant in others)]
            advance()
    return examinations


def _show(machine: dict[str, str], examinations: list[Examination]) -> None:
    from halocline.cli.output import emit
    from halocline.cli.tables import facts, table

    facts("", machine)
    emit("")
    table("", ("backend", "status", "devices", "versions"), [_row(each) for each in examinations])
    tests = [_test_row(each.backend, test) for each in examinations for test in each.tests]
    if tests:
        emit("")
        columns = ("backend", "dtype", "energy error (eV)", "force error (eV/Å)", "start (s)", "repeats")
        table("Self-test against eager float64, tolerances in brackets", columns, tests)
    details = [
        (each.backend, name, value)
        for each in examinations
        if not each.variant  # it says of itself what its backend says
        for name, value in each.diagnosis.get("details", {}).items()
    ]
    if details:
        emit("")
        table("", ("backend", "detail", ""), details)
    reasons = {each.backend: each.reason for each in examinations if each.reason}
    if reasons:
        emit("")
        facts("", reasons)


def _show_kernels(kernels: list[KernelExamination]) -> None:
    """Those that are installed, and for which stages of which backbones they are."""
    from halocline.cli.output import emit
    from halocline.cli.tables import facts, table

    if not kernels:
        return
    emit("")
    table(
        "",
        ("kernel", "version", "used", "off by at most", "devices", "stages"),
        [_kernel_row(each) for each in kernels],
    )
    if reasons := {each.kernel: each.reason for each in kernels if each.reason}:
        emit("")
        facts("", reasons)


def _kernel_row(kernel: KernelExamination) -> tuple[object, ...]:
    used = "always" if kernel.exact else "with --compress"
    tolerances = ", ".join(f"{allowed:.0e} ({name})" for name, allowed in (kernel.tolerances or {}).items())
    stages = "; ".join(f"{backbone}: {', '.join(names)}" for backbone, names in (kernel.stages or {}).items())
    return (
        kernel.kernel,
        kernel.version or "–",
        "failed" if kernel.reason else used if kernel.enabled else "switched off",
        tolerances or "–",
        ", ".join(kernel.devices) or "–",
        stages or "–",
    )


def _row(examination: Examination) -> tuple[str, ...]:
    diagnosis = examination.diagnosis
    versions = ", ".join(f"{name} {version}" for name, version in diagnosis.get("versions", {}).items())
    return examination.backend, examination.status, ", ".join(diagnosis.get("devices", ())) or "–", versions or "–"


def _test_row(backend: str, test: SelfTest) -> tuple[object, ...]:
    return (
        backend,
        test.precision,
        _error(test.energy_error, test.energy_tolerance),
        _error(test.force_error, test.force_tolerance),
        f"{test.start:.1f}",
        str(test.repeats),
    )


def _error(error: float | None, tolerance: float) -> str:
    return f"{'not finite' if error is None else f'{error:.1e}'} ({tolerance:.1e})"
