"""The executor interface."""

from halocline.executor.executor import Capabilities, Executor, Session

__all__ = ["Capabilities", "Executor", "Session"]
