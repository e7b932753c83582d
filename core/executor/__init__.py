"""The executor interface."""

from halocline.executor.diagnosis import Diagnosis
from halocline.executor.executor import Executor, Session
from halocline.executor.stage_session import StageSession
from halocline.program import Capabilities

__all__ = ["Capabilities", "Diagnosis", "Executor", "Session", "StageSession"]
