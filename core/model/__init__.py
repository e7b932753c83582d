"""Backbones, their stages, and the potentials made of them."""

from halocline.aggregation import Block
from halocline.model.backbone import Backbone, Output
from halocline.model.condition import Condition
from halocline.model.pooled import PooledHead
from halocline.model.stage import Stage, StageSpec, State
from halocline.model.work import Work

__all__ = ["Backbone", "Block", "Condition", "Output", "PooledHead", "Stage", "StageSpec", "State", "Work"]
