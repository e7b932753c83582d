"""``halocline zoo audit``: crystals as a model has them, beside density functional theory."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.cli.options import add_device
from halocline.cli.output import emit, emit_json, progress
from halocline.cli.tables import page_width, table
from halocline.figures import check_figure

if TYPE_CHECKING:
    from halocline.audit.crystals import Row, Summary

_COLUMNS = ("crystal", "V (Å³/atom)", "PBE", "ΔV (%)", "B (GPa)", "PBE", "ΔB (%)", "E (eV/atom)")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("model", metavar="MODEL", help="name in a zoo, or path of a checkpoint")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw a periodic table of the errors")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    parser.add_argument("--head", metavar="NAME", help="of a model with several heads or fidelities")
    add_device(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Audit a model.

    Raises:
        HaloclineError: there is no such model or device, or the figure cannot be written.
    """
    if arguments.plot is not None:
        check_figure(arguments.plot)
    import torch

    import halocline
    from halocline.audit.crystals import audit, compounds, elements, summarise

    torch.set_num_threads(
        1
    )  # cells of a few atoms: a second thread would mostly wait, and on busy machines for long
    potential = halocline.load(arguments.model)
    sets = {"elements": elements(), "compounds": compounds()}
    rows: dict[str, list[Row]] = {}
    with progress(sum(map(len, sets.values())), "crystals") as advance:
        for name, crystals in sets.items():
            rows[name] = audit(potential, crystals, device=arguments.device, head=arguments.head, advance=advance)
    summaries = {name: summarise(each) for name, each in rows.items()}
    level = potential.card.get("level_of_theory")
    if arguments.plot:
        from halocline.audit.crystals.plot import plot_audit

        plot_audit(rows["elements"], summaries["elements"], arguments.plot, title=_title(arguments.model, level))
    if arguments.json:
        emit_json(_document(arguments.model, level, rows, summaries))
    else:
        _print(_title(arguments.model, level), rows, summaries)
    return 0


def _title(model: str, level: str | None) -> str:
    return f"{model}, made for {level or 'a level of theory that its card does not state'}, beside PBE"


def _document(
    model: str, level: str | None, rows: dict[str, list[Row]], summaries: dict[str, Summary]
) -> dict[str, Any]:
    import dataclasses

    from halocline.audit.crystals.summary import record

    return {
        "model": model,
        "level_of_theory": level,
        "reference_level_of_theory": "PBE",
        **{
            name: {"summary": dataclasses.asdict(summaries[name]), "crystals": [record(row) for row in each]}
            for name, each in rows.items()
        },
    }


def _print(title: str, rows: dict[str, list[Row]], summaries: dict[str, Summary]) -> None:
    emit(textwrap.fill(title, page_width()))
    for name, each in rows.items():
        emit("")
        table("", _COLUMNS, [_cells(row) for row in each])
        emit("")
        emit(textwrap.fill(f"{name}: {in_words(summaries[name])}", page_width()))
    sources: Sequence[str] = list(dict.fromkeys(row.crystal.source for each in rows.values() for row in each))
    emit("\nReferences:")
    for source in sources:
        emit(
            textwrap.fill(
                source, page_width(), initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
            )
        )


def in_words(summary: Summary) -> str:
    """A sentence that says how large the errors are, and of how many crystals."""
    from halocline.audit.crystals.summary import LARGE

    modulus = summary.bulk_modulus_error
    parts = [
        f"median error of the volume {summary.volume_error:.2f} %",
        *([f"of the bulk modulus {modulus:.1f} %"] if modulus is not None else []),
        f"over {summary.crystals} crystals: {summary.large} off by more than {LARGE:g} %",
        f"{summary.no_minimum} without a minimum, {summary.not_known} not known",
    ]
    if summary.not_evaluated:
        parts.append(f"{summary.not_evaluated} not evaluated")
    return ", ".join(parts) + "; a crystal without a minimum or not known counts as 100 %."


def _cells(row: Row) -> tuple[str, ...]:
    reference = row.crystal.bulk_modulus
    known = ("" if reference is None else f"{reference:.1f}",)
    if row.fit is None:
        return (row.crystal.name, row.outcome.value, f"{row.crystal.volume:.3f}", "", "", *known, "", "")
    modulus = row.bulk_modulus_error
    return (
        row.crystal.name,
        f"{row.fit.volume:.3f}",
        f"{row.crystal.volume:.3f}",
        f"{row.volume_error:+.2f}",
        f"{row.fit.bulk_modulus:.1f}",
        *known,
        "" if modulus is None else f"{modulus:+.1f}",
        f"{row.fit.energy:.4f}",
    )
