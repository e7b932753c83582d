"""Operators of `halocline.plugins.fused` on GPUs, in Triton: the same sums, with one writer each.

Modules here import Triton; they are imported when an operator is called for the first time (see
`halocline.plugins.fused.operators.define`). What it compiles it keeps, and runs again: in the cache folder, unless
the host says where, or there is none.
"""

import os
from contextlib import suppress

from halocline.cache import own_cache
from halocline.errors import UsageError

if "TRITON_CACHE_DIR" not in os.environ:
    with suppress(OSError, UsageError):  # in its own place, then
        os.environ["TRITON_CACHE_DIR"] = str(own_cache("triton"))
