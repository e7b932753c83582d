"""JMP: GemNet-OC, whose edges meet in pairs and in chains of three."""

from halocline.plugins.backbones.jmp.backbone import JMP
from halocline.plugins.backbones.jmp.config import JMPConfig

__all__ = ["JMP", "JMPConfig"]
