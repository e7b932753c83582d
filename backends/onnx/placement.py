"""Which provider each operation of a session was given to: none may fall back to the CPU unnoticed."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Final

from halocline.backends.onnx.target import Target
from halocline.errors import UsageError

#: Session option that makes ONNX Runtime remember its decisions.
RECORD: Final = "session.record_ep_graph_assignment_info"

#: The first version that can tell.
_TELLING_VERSION: Final = "1.24"

_log = logging.getLogger(__name__)


def report_placement(session: Any, target: Target) -> None:
    """Log a warning that names the operations which do not run on the provider that was asked for.

    Args:
        session: an ``onnxruntime.InferenceSession`` made with the option `RECORD`.
        target: what was asked for.

    Raises:
        UsageError: the provider could not be started, or it cannot be known what runs where.
    """
    if target.provider_name not in session.get_providers():
        raise UsageError(
            f"ONNX Runtime could not start {target.provider_name}; its log says which library of CUDA, cuDNN or "
            "TensorRT is missing or of another version."
        )
    if not hasattr(session, "get_provider_graph_assignment_info"):
        raise UsageError(
            f"This onnxruntime-gpu cannot tell which operations fall back to the CPU; install {_TELLING_VERSION} "
            "or later."
        )
    for provider, operations in misplaced(session, target).items():
        listed = ", ".join(f"{count} × {name}" for name, count in operations.most_common())
        _log.warning("Not on %s but on %s: %s.", target.provider_name, provider, listed)


def misplaced(session: Any, target: Target) -> dict[str, Counter[str]]:
    """Operations on other providers than the target's: provider → operator → number of nodes."""
    elsewhere: dict[str, Counter[str]] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        if subgraph.ep_name != target.provider_name:
            operations = elsewhere.setdefault(subgraph.ep_name, Counter())
            operations.update(node.op_type for node in subgraph.get_nodes())
    return elsewhere
