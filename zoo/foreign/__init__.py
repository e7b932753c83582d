"""Models in the formats of other packages, read as plain tensors and JSON without those packages."""

from halocline.zoo.foreign.chgnet import read_chgnet
from halocline.zoo.foreign.jmp import read_jmp
from halocline.zoo.foreign.mace import read_mace
from halocline.zoo.foreign.matgl import read_matgl
from halocline.zoo.foreign.mattersim import read_mattersim
from halocline.zoo.foreign.model import ForeignModel
from halocline.zoo.foreign.nequix import read_nequix
from halocline.zoo.foreign.orb import read_orb
from halocline.zoo.foreign.pnnl import read_pnnl
from halocline.zoo.foreign.sevennet import read_sevennet

__all__ = [
    "ForeignModel",
    "read_chgnet",
    "read_jmp",
    "read_mace",
    "read_matgl",
    "read_mattersim",
    "read_nequix",
    "read_orb",
    "read_pnnl",
    "read_sevennet",
]
