"""C++ that is compiled on the machine that runs it, kept, and called without torch in between."""

from halocline.native.libraries import library

__all__ = ["library"]
