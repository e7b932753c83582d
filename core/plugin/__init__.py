"""What plugins are made of, and how they are found.

A plugin is a light module, named by an entry point of the group ``halocline.plugins``::

    from halocline.plugin import Component, hookimpl

    halocline_api = 2


    @hookimpl
    def halocline_backbones() -> list[Component]:
        return [Component("harmonic", "halocline_harmonic.backbone:Harmonic", "springs between neighbours")]
"""

from halocline.plugin.entry_points import Plugin
from halocline.plugin.hooks import API_VERSION, Component, Kind, hookimpl
from halocline.plugin.registry import Registry, registry

__all__ = ["API_VERSION", "Component", "Kind", "Plugin", "Registry", "hookimpl", "registry"]
