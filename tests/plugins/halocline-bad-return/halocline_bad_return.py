"""A plugin whose hook returns strings."""

from halocline.plugin import hookimpl

halocline_api = 2


@hookimpl
def halocline_backbones() -> list[str]:
    """Return no components."""
    return ["package.module:Backbone"]
