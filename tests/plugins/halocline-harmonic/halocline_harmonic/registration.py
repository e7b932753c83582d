"""What this plugin brings."""

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_backbones() -> list[Component]:
    """Describe the backbone."""
    return [Component("harmonic", "halocline_harmonic.backbone:Harmonic", "springs between neighbours")]
