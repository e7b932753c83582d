"""The checks of a pruner: what it returns is a real, smaller model, and the original is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from halocline.errors import UsageError
from halocline.model import Backbone
from halocline.model.pruner import Pruner, PruningReport
from halocline.testing.checks.derivatives import check_forces
from halocline.testing.checks.locality import check_parts
from halocline.testing.checks.saving import check_config, check_saving
from halocline.testing.comparison import require_identical
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.subject import Subject


@final
@dataclass(frozen=True, slots=True)
class PrunerSubject:
    """A pruner, and a backbone to prune."""

    pruner: Pruner
    backbone: Backbone

    def pruned(self) -> tuple[Backbone, PruningReport]:
        """What the pruner makes of the backbone.

        Raises:
            NotApplicable: it says that this backbone cannot be pruned so.
        """
        try:
            return self.pruner.prune(self.backbone)
        except UsageError as error:
            raise NotApplicable(str(error)) from error


def check_real_model(subject: PrunerSubject) -> None:
    """The pruned backbone builds from its config, has right forces and parts, saves and reads back."""
    pruned, _ = subject.pruned()
    for check in (check_config, check_forces, check_parts, check_saving):
        check(Subject(pruned))


def check_report(subject: PrunerSubject) -> None:
    """The report says what changed, and nothing grew.

    Raises:
        Failure: it does not, or something grew.
    """
    pruned, report = subject.pruned()
    if report != PruningReport.compare(subject.backbone, pruned):
        raise Failure(f"The report is {report}; make it with PruningReport.compare.")
    for name in ("layers", "hops", "parameters"):
        before, after = getattr(report, name)
        if after > before:
            raise Failure(f"Pruning raised the {name} from {before} to {after}.")


def check_original_unchanged(subject: PrunerSubject) -> None:
    """The backbone that was pruned gives what it gave before."""
    looked_at = Subject(subject.backbone)
    before = looked_at.evaluate(looked_at.samples.molecule)
    subject.pruned()
    after = Subject(subject.backbone).evaluate(looked_at.samples.molecule)
    require_identical("of the original after pruning", after, before)


#: All checks of a pruner by name.
PRUNER_CHECKS = MappingProxyType(
    {
        "real-model": check_real_model,
        "report": check_report,
        "original-unchanged": check_original_unchanged,
    }
)
