"""A plugin that needs something which is not installed."""

import a_module_that_nobody_has  # noqa: F401

halocline_api = 2
