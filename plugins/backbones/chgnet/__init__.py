"""CHGNet: message passing on atoms, bonds and angles, with magnetic moments."""

from halocline.plugins.backbones.chgnet.backbone import CHGNet
from halocline.plugins.backbones.chgnet.config import CHGNetConfig

__all__ = ["CHGNet", "CHGNetConfig"]
