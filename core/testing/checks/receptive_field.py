"""Nothing reaches an atom's energy from beyond the declared hops."""

from __future__ import annotations

from halocline.probes.receptive_field import measure_hops
from halocline.testing.report import Failure, Remark
from halocline.testing.subject import Subject


def check_receptive_field(subject: Subject) -> None:
    """On chains, one atom's energy depends on the last declared hop, and on none beyond: exactly."""
    declared, measured = subject.backbone.hops, measure_hops(subject.backbone)
    if measured > declared:
        raise Failure(
            f"The energy of one atom depends on atoms {measured} hops away, beyond the declared {declared}: "
            "declare more hops."
        )
    if measured < declared:
        raise Remark(
            f"Nothing depends on the last of the {declared} declared hops: declare fewer, and parts get smaller."
        )
