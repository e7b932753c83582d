"""A fit that starts from a model that there is."""

from halocline.training.parent.lineage import inherit, licence_remark, public_name
from halocline.training.parent.parent import Parent, find_parent, model_place

__all__ = ["Parent", "find_parent", "inherit", "licence_remark", "model_place", "public_name"]
