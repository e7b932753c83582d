"""What works on this machine, and whether it computes right."""

from halocline.doctor.examination import Examination, SelfTest, examine
from halocline.doctor.machine import describe_machine

__all__ = ["Examination", "SelfTest", "describe_machine", "examine"]
