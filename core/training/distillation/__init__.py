"""A model learns from another: from its energies and forces, where there are labels and where there are none."""

from halocline.training.distillation.lessons import taught_labels
from halocline.training.distillation.teacher import Teacher, find_teacher

__all__ = ["Teacher", "find_teacher", "taught_labels"]
