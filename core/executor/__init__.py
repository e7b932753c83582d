"""The executor interface."""

from halocline.executor.diagnosis import Diagnosis
from halocline.executor.executor import Capabilities, Executor, Session
from halocline.executor.stage_session import StageSession

__all__ = ["Capabilities", "Diagnosis", "Executor", "Session", "StageSession"]
