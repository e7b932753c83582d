"""A plugin with a misspelt hook."""

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_backbone() -> list[Component]:
    """Would never be called."""
    return []
