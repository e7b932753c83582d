"""The operations that PopTorch can compile, by version of the SDK."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

from halocline.errors import unknown_name

#: The SDK that is checked against unless another one is named: the last one that was released.
LATEST: Final = "3.4"

#: Operations without a handler that never reach PopTorch, because torch or PopTorch itself turns them into others.
COMPOSITES: Final = {
    "_to_copy": "an empty tensor and copy_",
    "alias": "removed by PopTorch",
}


@cache
def supported(sdk: str = LATEST) -> frozenset[str]:
    """Names of operations, without overload.

    Raises:
        UsageError: there is no list for this SDK.
    """
    table = _table()
    if sdk not in table["branches"]:
        raise unknown_name("list of PopTorch's operations for the SDK", sdk, table["branches"])
    return frozenset(table["names"]) - frozenset(table["branches"][sdk]["lacks"]) | frozenset(COMPOSITES)


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((files("halocline.backends.ipu") / "handlers.json").read_text("utf-8"))
    return table
