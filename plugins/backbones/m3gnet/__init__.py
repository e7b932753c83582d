"""M3GNet: message passing on atoms and edges with three-body terms."""

from halocline.plugins.backbones.m3gnet.backbone import M3GNet
from halocline.plugins.backbones.m3gnet.config import M3GNetConfig

__all__ = ["M3GNet", "M3GNetConfig"]
