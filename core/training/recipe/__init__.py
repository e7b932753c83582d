"""The recipe of a training run: everything that decides its outcome, as one TOML file."""

from halocline.training.recipe.adapters import AdapterSettings
from halocline.training.recipe.data import DataSettings, SplitSettings
from halocline.training.recipe.distillation import DistillationSettings
from halocline.training.recipe.file import read_recipe, read_tables, resolve
from halocline.training.recipe.log import LogSettings
from halocline.training.recipe.metric import Metric
from halocline.training.recipe.model import ModelSettings
from halocline.training.recipe.recipe import Recipe, make_recipe
from halocline.training.recipe.references import ReferenceSettings
from halocline.training.recipe.replay import ReplaySettings
from halocline.training.recipe.training import LossKind, TrainingSettings
from halocline.training.recipe.weights import Weights

__all__ = [
    "AdapterSettings",
    "DataSettings",
    "DistillationSettings",
    "LogSettings",
    "LossKind",
    "Metric",
    "ModelSettings",
    "Recipe",
    "ReferenceSettings",
    "ReplaySettings",
    "SplitSettings",
    "TrainingSettings",
    "Weights",
    "make_recipe",
    "read_recipe",
    "read_tables",
    "resolve",
]
