"""TensorNet: Cartesian tensors of rank two on atoms."""

from halocline.plugins.backbones.tensornet.backbone import TensorNet
from halocline.plugins.backbones.tensornet.config import TensorNetConfig

__all__ = ["TensorNet", "TensorNetConfig"]
