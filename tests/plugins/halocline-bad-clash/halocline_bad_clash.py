"""A plugin that takes the name of a built-in backbone, of a stranger's and of a command."""

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_backbones() -> list[Component]:
    """Describe two backbones."""
    return [
        Component("schnet", "halocline_bad_clash:Other", "not the built-in one"),
        Component("harmonic", "halocline_bad_clash:Other", "not the stranger's"),
    ]


@hookimpl
def halocline_commands() -> list[Component]:
    """Describe a command."""
    return [Component("run", "halocline_bad_clash:configure", "not the built-in one")]


class Other:
    """Stands for a backbone."""
