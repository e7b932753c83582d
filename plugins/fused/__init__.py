"""Operators in compiled C++: several steps of a model in one pass over its edges, and their derivatives."""

from typing import Final

#: Channels from which on compiled code is worth its compilation. Fewer are computed in less time than torch takes
#: to call anything, so that seconds of a compiler would be gained back in thousands of steps, if at all.
FEWEST_CHANNELS: Final = 32
