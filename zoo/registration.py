"""The model zoo that comes in the box, and the command that manages it."""

from __future__ import annotations

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_zoos() -> list[Component]:
    """Describe the zoo."""
    summary = "models that ship or are pinned by their SHA-256"
    return [Component("zoo", "halocline.zoo.store:Zoo", summary, default=True)]


@hookimpl
def halocline_commands() -> list[Component]:
    """Describe the command."""
    return [Component("zoo", "halocline.zoo.command:configure", "list, fetch, verify and describe models")]
