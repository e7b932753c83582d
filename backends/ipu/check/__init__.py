"""The conformance check: what can be known of a program on IPUs without an IPU."""

from halocline.backends.ipu.check.call import Violation
from halocline.backends.ipu.check.conformance import ProgramReport, check_program, examine, require_conformance
from halocline.backends.ipu.check.memory import MemoryEstimate, estimate_memory

__all__ = [
    "MemoryEstimate",
    "ProgramReport",
    "Violation",
    "check_program",
    "estimate_memory",
    "examine",
    "require_conformance",
]
