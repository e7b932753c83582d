"""MACE."""

from halocline.plugins.backbones.mace.backbone import MACE
from halocline.plugins.backbones.mace.config import MACEConfig

__all__ = ["MACE", "MACEConfig"]
