"""A potential as a model of torch-sim, and relaxations and dynamics of many structures that torch-sim carries.

Needs torch-sim: ``pip install 'halocline[torch-sim]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from halocline.lazy import lazily

if TYPE_CHECKING:
    from halocline.engines.torch_sim.model import DTYPE, HaloclineModel

__all__ = ["DTYPE", "HaloclineModel"]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "halocline.engines.torch_sim.model"))
