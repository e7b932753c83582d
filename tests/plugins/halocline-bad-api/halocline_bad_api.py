"""A plugin for an API of the future; its hook must not be called."""

import sys

from halocline.plugin import hookimpl

halocline_api = 3


@hookimpl
def halocline_backbones() -> None:
    """Show that it was called."""
    sys.stderr.write("a hook of another API version was called\n")
