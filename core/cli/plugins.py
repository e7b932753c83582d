"""``halocline plugins``: what is installed, what is broken and why, and whether it keeps its contract."""

from __future__ import annotations

import argparse
from typing import Any

from halocline.cli.output import emit, emit_json, say, table
from halocline.plugin import Component, Plugin, Registry, registry

_TITLES = {
    "name": "name",
    "kind": "kind",
    "distribution": "distribution",
    "version": "version",
    "api_version": "API",
    "status": "status",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``halocline plugins``."""
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    check = actions.add_parser("check", help="run the conformance suite on what a plugin brings")
    check.add_argument("name", help="a component, or a distribution for all that it brings")
    check.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="write JSON")
    check.set_defaults(run=_check)


def _list(arguments: argparse.Namespace) -> int:
    rows = plugin_rows(registry())
    if arguments.json:
        emit_json(rows)
        return 0
    cells = [["–" if row[key] in (None, "") else str(row[key]) for key in _TITLES] for row in rows]
    table("", list(_TITLES.values()), cells)
    for remark in dict.fromkeys(_remark(row) for row in rows if row["reason"]):
        emit(remark)
    return 0


def _remark(row: dict[str, Any]) -> str:
    """Say what is wrong: with one component if its name clashes, else with the whole entry point."""
    clash = row["status"] == "clash"
    who = f"{row['distribution']}/{row['name']}" if clash else f"{row['distribution']}:{row['entry_point']}"
    return f"{who}: {row['reason']}. {row['fix']}".rstrip()


def plugin_rows(known: Registry) -> list[dict[str, Any]]:
    """Describe every component, and every entry point that brings none.

    Returns:
        One dictionary per line of the listing, ready for JSON.
    """
    rows = []
    for plugin in known.plugins:
        rows += [_component_row(known, plugin, component) for component in plugin.components]
        if not plugin.components:
            rows.append(_plugin_row(plugin))
    return rows


def _plugin_row(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.entry_point,
        "kind": None,
        "summary": "",
        "entry_point": plugin.entry_point,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "api_version": plugin.api_version,
        "status": plugin.status,
        "reason": plugin.reason,
        "fix": plugin.fix,
    }


def _component_row(known: Registry, plugin: Plugin, component: Component) -> dict[str, Any]:
    what = {"name": component.name, "kind": component.kind, "summary": component.summary}
    rivals = " and ".join(rival.qualified_name for rival in known.rivals(component))
    clash = {
        "status": "clash",
        "reason": f"it shares its name with {rivals}",
        "fix": f"Select it as {component.qualified_name}.",
    }
    return _plugin_row(plugin) | what | (clash if rivals else {})


def _check(arguments: argparse.Namespace) -> int:
    from halocline.testing import check_plugin

    report = check_plugin(arguments.name)
    results = [
        {"check": r.check, "component": r.component, "status": r.status, "message": r.message}
        for r in report.results
    ]
    if arguments.json:
        emit_json({"ok": report.ok, "results": results})
    else:
        table("", ["check", "component", "status", "message"], [list(result.values()) for result in results])
        say(f"{arguments.name}: {'keeps' if report.ok else 'breaks'} its contract.")
    return 0 if report.ok else 1
