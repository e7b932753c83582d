"""ORB: attention-gated messages both ways along directed edges, with conservative or direct forces."""

from halocline.plugins.backbones.orb.backbone import ORB
from halocline.plugins.backbones.orb.config import ORBConfig
from halocline.plugins.backbones.orb.of_atoms import energies_of_atoms

__all__ = ["ORB", "ORBConfig", "energies_of_atoms"]
