"""ORB: attention-gated messages both ways along directed edges, with conservative or direct forces."""

from halocline.plugins.backbones.orb.backbone import ORB
from halocline.plugins.backbones.orb.config import ORBConfig

__all__ = ["ORB", "ORBConfig"]
