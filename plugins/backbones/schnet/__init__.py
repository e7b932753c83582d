"""SchNet."""

from halocline.plugins.backbones.schnet.backbone import SchNet
from halocline.plugins.backbones.schnet.config import SchNetConfig

__all__ = ["SchNet", "SchNetConfig"]
