"""A potential as a model of torch-sim, and relaxations and dynamics of many structures that torch-sim carries.

Needs torch-sim: ``pip install 'halocline[torch-sim]'``.
"""

from __future__ import annotations

from halocline.engines.torch_sim.model import DTYPE, HaloclineModel

__all__ = ["DTYPE", "HaloclineModel"]
