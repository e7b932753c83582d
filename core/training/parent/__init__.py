"""A fit that starts from a model that there is."""

from halocline.training.parent.lineage import inherit, licence_remark, public_name, public_pruning
from halocline.training.parent.parent import Parent, find_parent, model_place, pruned_by_files
from halocline.training.parent.replay import Replay

__all__ = [
    "Parent",
    "Replay",
    "find_parent",
    "inherit",
    "licence_remark",
    "model_place",
    "pruned_by_files",
    "public_name",
    "public_pruning",
]
