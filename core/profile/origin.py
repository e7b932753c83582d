"""Which stage runs an operator, and what for: read off the stack of Python's frames, derivatives included.

Nothing is marked in the code that runs, so that it costs nothing while nobody looks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final, NamedTuple, final

import torch
from torch import nn

from halocline.aggregation import Block, RadialFunction, TripletBlock
from halocline.model import Stage, Work

#: What blocks do for stages, by the names of their methods.
_OF_BLOCKS: Final = {
    "at_senders": Work.MESSAGES,
    "at_receivers": Work.MESSAGES,
    "at_written": Work.MESSAGES,
    "at_read": Work.MESSAGES,
    "convolve": Work.MESSAGES,
    "sum": Work.SUM,
    "sum_at_senders": Work.SUM,
    "radial": Work.RADIAL,
    "lengths": Work.RADIAL,
    "within": Work.NEIGHBOURS,
}

#: How methods of radial functions begin that do what `Block.convolve` does.
_CONVOLVING: Final = "convolve_"

#: What stages without hops are there for, where they say nothing themselves.
_OF_GROUPS: Final = {"embed": Work.EMBEDDING, "readouts": Work.READOUT}

#: Something whose method runs, and the name of the method.
_Call = tuple[Any, str]


class Origin(NamedTuple):
    """Where an operator comes from.

    Attributes:
        stage: its name in `Backbone.stages`, or that of its class where it is part of no frozen model; empty for
            what runs outside of stages. Of stages with one name, as those of a committee, all but the first that
            ran have a number behind it.
        work: None where nothing says what it is for.
        derivative: whether it is part of a derivative.
    """

    stage: str = ""
    work: Work | None = None
    derivative: bool = False


@final
class Origins:
    """Finds the origin of each operator that a dispatch mode is handed, in the order in which they run.

    Autograd numbers what it records, which leads from a derivative back to the operator that it is of.
    """

    def __init__(self) -> None:
        self._recorded: dict[int, Origin] = {}
        self._names: dict[int, str] = {}
        self._paths: dict[int, dict[int, str]] = {}
        self._alive: list[Any] = []  # whose ids are keys

    def here(self) -> Origin:
        """The origin of the operator that runs now; to be asked within a dispatch mode."""
        derivative = torch._C._current_autograd_node()
        if derivative is not None:
            return self._recorded.get(derivative._sequence_nr(), Origin())._replace(derivative=True)
        origin = self._from_frames()
        # The first operator that finds a number is the one that was given it; others that are not recorded follow.
        self._recorded.setdefault(torch.autograd._get_sequence_nr() - 1, origin)
        return origin

    def _from_frames(self) -> Origin:
        calls = list(_calls(sys._getframe(1)))  # the innermost first
        stage = next((owner for owner, _ in calls if isinstance(owner, Stage)), None)
        if stage is None:
            return Origin("", _outside_of_stages(calls))
        # A function that a stage hands to its block is called within the block, and knows the stage as well.
        last = max(place for place, (owner, _) in enumerate(calls) if owner is stage)
        name = self._name(stage)
        return Origin(name, self._work(stage, calls[: last + 1]) or _OF_GROUPS.get(name.partition(".")[0]))

    def _work(self, stage: Stage, calls: Sequence[_Call]) -> Work | None:
        """What the innermost call is for that anything is known of."""
        paths = self._paths.get(id(stage))
        if paths is None:
            paths = self._paths[id(stage)] = {id(module): name for name, module in stage.named_modules()}
            self._alive.append(stage)
        # A table that convolves gathers, weights and adds up in one: what it does within that is no other work.
        convolving = [id(owner) for owner, method in calls if method.startswith(_CONVOLVING)]
        for owner, method in calls:
            if isinstance(owner, nn.Module):
                work = _declared(stage.profiled_as, f"{paths.get(id(owner), '')}.{method}".removeprefix("."))
                if work is None and isinstance(owner, RadialFunction) and id(owner) not in convolving:
                    work = Work.RADIAL
            else:
                work = _OF_BLOCKS.get(method)
            if work is not None:
                return work
        return None

    def _name(self, stage: Stage) -> str:
        if id(stage) not in self._names:
            self._alive.append(stage)
            name = stage.frozen_as or type(stage).__name__
            alike = sum(known.partition(" ")[0] == name for known in self._names.values())
            self._names[id(stage)] = f"{name} ({alike + 1})" if alike else name
        return self._names[id(stage)]


def _declared(work: Mapping[str, Work], path: str) -> Work | None:
    """What is said of a method, of its module, or of the nearest module around that."""
    while path not in work:
        path, dot, _ = path.rpartition(".")
        if not dot:
            return None
    return work[path]


def _calls(frame: FrameType | None) -> Iterator[_Call]:
    """Modules and blocks whose methods run, the innermost first."""
    while frame is not None:
        code = frame.f_code
        if "self" in code.co_varnames or "self" in code.co_freevars:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module | Block | TripletBlock):
                yield owner, code.co_name
        frame = frame.f_back


def _outside_of_stages(calls: Sequence[_Call]) -> Work | None:
    """What blocks do before a stage is called with them."""
    found = [_OF_BLOCKS.get(method) for owner, method in calls if not isinstance(owner, nn.Module)]
    return next((work for work in found if work is not None), None)
