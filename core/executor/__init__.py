"""The executor interface."""

from halocline.executor.executor import Diagnosis, Executor, Session, StageSession
from halocline.program import Capabilities

__all__ = ["Capabilities", "Diagnosis", "Executor", "Session", "StageSession"]
