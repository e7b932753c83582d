"""The executor interface."""

from halocline.executor.diagnosis import Diagnosis
from halocline.executor.executor import Capabilities, Executor, Session

__all__ = ["Capabilities", "Diagnosis", "Executor", "Session"]
