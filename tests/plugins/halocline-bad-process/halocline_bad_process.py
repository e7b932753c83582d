"""A plugin that switches off a safety of the whole process when it is imported."""

import os

from halocline.plugin import Component, hookimpl

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

halocline_api = 2


@hookimpl
def halocline_pruners() -> list[Component]:
    """Describe a pruner."""
    return [Component("rude", "halocline_bad_process:Rude", "a pruner")]
