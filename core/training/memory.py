"""What to do when memory runs out in a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from halocline.errors import TrainingError
from halocline.memory.live_bytes import is_out_of_memory

if TYPE_CHECKING:
    from halocline.training.samples import Sample
    from halocline.training.steps import StepSize


@contextmanager
def memory_advice(samples: Sequence[Sample], size: StepSize, what: str) -> Iterator[None]:
    """Say what helps if memory runs out in the block.

    Args:
        samples: the frames that the block works on.
        size: of a step.
        what: the block does, such as ``step 12``.

    Raises:
        TrainingError: memory has run out, of the machine or of the GPU.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        atoms = sum(sample.atoms for sample in samples)
        edges = sum(len(sample.graph.edges) for sample in samples)
        held = f"{len(samples)} frame{'s' if len(samples) > 1 else ''} with {atoms} atoms and {edges} edges"
        raise TrainingError(
            f"Memory ran out in {what}, of {held} ({size.key} = {size.most}). {_remedy(len(samples), edges, size)}"
        ) from error


def _remedy(frames: int, edges: int, size: StepSize) -> str:
    if frames == 1:
        return (
            "It is one frame already: leave out frames as large as this one, make the model smaller, or use a "
            "device with more memory."
        )
    half = max(1, edges // 2)
    if size.unit == "edges":
        return f"Set {size.key} to {half} or less, or share the steps among more ranks."
    return (
        f"Memory goes with the edges of a step: set training.batch_edges = {half} or less in the place of "
        f"{size.key.removeprefix('training.')}, or share the steps among more ranks."
    )
