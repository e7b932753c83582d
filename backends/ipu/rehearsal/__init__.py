"""Rehearsals: a program runs on the CPU under the conditions that it will meet on an IPU."""

from halocline.backends.ipu.rehearsal.dispatch import check_dispatched
from halocline.backends.ipu.rehearsal.rehearse import rehearse, require_rehearsal

__all__ = ["check_dispatched", "rehearse", "require_rehearsal"]
