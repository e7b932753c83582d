"""``halocline plugins``: what is installed, what is broken and why, what keeps its contract; and a new one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from halocline.cli.new_plugin import write_plugin
from halocline.cli.output import emit, emit_json, say
from halocline.cli.tables import table, wrapped
from halocline.errors import UsageError
from halocline.plugin import Component, Plugin, Registry
from halocline.plugin.registry import discover

#: Seconds after which a conformance suite counts as hanging; the slowest in the box takes minutes.
_PATIENCE = 3600.0

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
    new = actions.add_parser("new", help="make a repository in which a backbone begins")
    new.add_argument("name", help="of the backbone; the repository is ./halocline-NAME")
    new.set_defaults(run=_new)


def _list(arguments: argparse.Namespace) -> int:
    rows = plugin_rows(Registry(discover(anew=True)))
    if arguments.json:
        emit_json(rows)
        return 0
    cells = [["–" if row[key] in (None, "") else str(row[key]) for key in _TITLES] for row in rows]
    table("", list(_TITLES.values()), cells)
    for remark in dict.fromkeys(_remark(row) for row in rows if row["reason"]):
        emit("\n" + wrapped(remark))
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


def _new(arguments: argparse.Namespace) -> int:
    folder = write_plugin(arguments.name, Path())
    emit(str(folder))
    say(f"Its README.md says how to go on; its tests pass: pip install -e {folder}, and python -m pytest there.")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    results = list(_judge(arguments.name))
    ok = all(result["status"] != "failed" for result in results)
    if arguments.json:
        emit_json({"ok": ok, "results": results})
    else:
        table("", ["check", "component", "status", "message"], [list(result.values()) for result in results])
        say(f"{arguments.name}: {'keeps' if ok else 'breaks'} its contract.")
    return 0 if ok else 1


def _judge(name: str) -> Iterator[dict[str, str]]:
    """Run the suite in a process of its own: a plugin may crash, hang, leave or print.

    Raises:
        UsageError: nothing of this name is installed.
    """
    from halocline.isolation import call

    outcome = call(f"{__name__}:answer", name, _PATIENCE)
    if outcome.refused:
        raise UsageError(outcome.failure)
    component, complete = name, False
    for value in outcome.values:
        if isinstance(value, dict):
            yield value
        else:  # what comes next, or True after all
            component, complete = (component, True) if value is True else (value, False)
    if not complete:
        message = outcome.failure or "It ended the process without a word."
        yield {"check": "process", "component": component, "status": "failed", "message": message}


def answer(name: str) -> Iterator[dict[str, str] | str | bool]:
    """Check a plugin, in another process: the names of checks, their results as tables, and True in the end."""
    from halocline.testing.plugin import check_one_by_one

    for result in check_one_by_one(name):
        yield result if isinstance(result, str) else asdict(result)
    yield True
