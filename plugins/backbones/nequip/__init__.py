"""NequIP."""

from halocline.plugins.backbones.nequip.backbone import NequIP
from halocline.plugins.backbones.nequip.config import NequIPConfig

__all__ = ["NequIP", "NequIPConfig"]
