"""EScAIP: attention among the neighbours of each atom."""

from halocline.plugins.backbones.escaip.backbone import EScAIP
from halocline.plugins.backbones.escaip.config import EScAIPConfig

__all__ = ["EScAIP", "EScAIPConfig"]
