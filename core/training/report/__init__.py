"""What a run tells of itself: numbers for those who watch, and figures at its end."""

from halocline.training.report.logs import Log, logs

__all__ = ["Log", "logs"]
