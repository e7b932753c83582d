"""In which dtypes a policy really computed, as torch's operators show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from halocline.errors import PrecisionError
from halocline.model.backbone import Backbone
from halocline.profile import observed_dtypes
from halocline.program.policy import DTYPES, PrecisionPolicy

_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


def what_ran(function: Callable[[], object]) -> dict[str, dict[str, float]]:
    """Stage → dtype → its share of the elements that were computed, derivatives included.

    Args:
        function: evaluates a model once.
    """
    ran: dict[str, dict[str, float]] = {}
    for stage, counts in observed_dtypes(function).items():
        if stage:  # what surrounds stages is float64 always
            total = sum(counts.values())
            ran[stage] = {_NAMES[dtype]: count / total for dtype, count in counts.most_common()}
    return ran


def require_ran(policy: PrecisionPolicy, backbone: Backbone, ran: dict[str, dict[str, float]]) -> None:
    """Make sure that what was asked for is what ran.

    Every stage has to compute in each dtype that its weights are asked to be in, and in no other but those of
    sums, of regions without weights, and at borders of the program: gradients of what several stages read meet
    there.

    Raises:
        PrecisionError: a stage computed in something else, or not in what was asked for; both are named. Or
            nothing was seen.
    """
    if not ran:
        raise PrecisionError(
            "Nothing can be said of what ran: this backend computes outside of torch's operators."
        )
    for stage, asked, allowed in _expected(policy, backbone):
        found = set(ran.get(stage, {}))
        if not asked <= found <= allowed:
            raise PrecisionError(
                f"The policy {policy} did not run: {stage} computed in {_listed(found)}, and was to compute in "
                f"{_listed(asked)}."
            )
    summing = [stage for stage, module in backbone.stages() if module.spec.hops]
    if policy.sums in DTYPES and not any(policy.sums in ran.get(stage, {}) for stage in summing):
        raise PrecisionError(f"The policy {policy} did not run: nothing was added up in {policy.sums}.")


def _expected(policy: PrecisionPolicy, backbone: Backbone) -> Iterator[tuple[str, set[str], set[str]]]:
    """For each stage the dtypes of its modules with weights, and all in which anything in it may compute."""
    sums = policy.sums if policy.sums in DTYPES else policy.program.value
    stages = dict(backbone.stages())
    for name, paths in policy.dtypes(backbone).items():
        asked = {
            _NAMES[dtype]
            for path, dtype in paths.items()
            if any(True for _ in stages[name].get_submodule(path).parameters(recurse=False))
        }
        allowed = {_NAMES[dtype] for dtype in paths.values()} | {sums if stages[name].spec.hops else ""}
        yield name, asked, allowed | {policy.program.value if paths[""] != policy.program.torch else ""}


def _listed(dtypes: set[str]) -> str:
    return " and ".join(sorted(dtypes)) or "nothing"
