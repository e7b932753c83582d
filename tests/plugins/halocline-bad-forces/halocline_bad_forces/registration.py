"""What this plugin brings; discovery sees nothing wrong, only the conformance suite does."""

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_backbones() -> list[Component]:
    """Describe the backbone."""
    return [Component("wrong-forces", "halocline_bad_forces.backbone:WrongForces", "forces that are wrong")]
