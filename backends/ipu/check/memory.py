"""How much memory a program may need: an estimate, not a promise.

The real limit holds for each tile by itself, and includes code and exchange buffers; only the compiler knows it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import torch

from halocline.backends.ipu.check.call import Call, TensorType
from halocline.backends.ipu.program_file import IpuProgram

#: Bytes of one IPU of the second generation: tiles × memory of a tile.
IPU_MEMORY: Final = 1472 * 624 * 1024

#: The part of it that tensors may fill; code and exchange need the rest.
BUDGET: Final = int(0.6 * IPU_MEMORY)

#: A tensor that fills more than this part of the budget is hard to spread over tiles.
LARGE: Final = 0.25

#: For each weight that is trained: its gradient and Adam's two moments.
OPTIMIZER_COPIES: Final = 3


@final
@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on one IPU, and what they are for.

    Attributes:
        constants: weights and other constants.
        exchanged: inputs and outputs, times the depth of buffering.
        optimizer: gradients and moments of the weights; 0 for inference.
        results: the most that results of operations need at once, each freed after its last use; all of them in
            training, which keeps them for the derivative.
        large: bytes of each tensor that fills more than a quarter of the budget, by name.
        budget: what may be used.
    """

    constants: int
    exchanged: int
    optimizer: int
    results: int
    large: Mapping[str, int]
    budget: int

    @property
    def total(self) -> int:
        """Bytes that all of it takes together."""
        return self.constants + self.exchanged + self.optimizer + self.results

    @property
    def fits(self) -> bool:
        """Whether that is within the budget."""
        return self.total <= self.budget

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each large tensor."""
        return tuple(
            f"{name} needs {_mebibytes(size)} of {_mebibytes(self.budget)}: it may not fit on the tiles."
            for name, size in self.large.items()
        )

    def __str__(self) -> str:
        parts = {"constants": self.constants, "inputs and outputs": self.exchanged, "results": self.results}
        parts |= {"optimizer": self.optimizer} if self.optimizer else {}
        listed = ", ".join(f"{name} {_mebibytes(size)}" for name, size in parts.items())
        return f"an estimate of {_mebibytes(self.total)} ({listed}) of a budget of {_mebibytes(self.budget)}"


def estimate_memory(
    program: IpuProgram,
    types: Mapping[str, TensorType],
    calls: Sequence[Call],
    *,
    buffering: int = 1,
    training: bool = False,
    budget: int = BUDGET,
) -> MemoryEstimate:
    """Add up what a program needs.

    Views count as if they were copies, as PopTorch may well make them.

    Args:
        program: to be estimated.
        types: of all its tensors by name; unknown ones do not count.
        calls: its operations.
        buffering: how many inputs and outputs are under way at once.
        training: weights, gradients and moments are kept, and all results.
        budget: bytes.
    """
    sizes = {name: _bytes(type_) for name, type_ in types.items()}
    constants = sum(sizes[name] for name in program.constants)
    exchanged = buffering * sum(sizes[name] for name in (*(v.name for v in program.inputs), *program.outputs))
    results = [result.name for call in calls for result in call.results]
    return MemoryEstimate(
        constants=constants,
        exchanged=exchanged,
        optimizer=OPTIMIZER_COPIES * sum(sizes[name] for name in program.parameters) if training else 0,
        results=sum(sizes[name] for name in results) if training else _peak(calls, program.outputs, sizes),
        large={name: size for name, size in sizes.items() if size > LARGE * budget},
        budget=budget,
    )


def _peak(calls: Sequence[Call], outputs: Sequence[str], sizes: Mapping[str, int]) -> int:
    """The most bytes alive at once. Outputs are left out: they count as exchanged."""
    last_use = {tensor.name: number for number, call in enumerate(calls) for tensor in call.tensors()}
    dying: dict[int, list[str]] = {}
    alive = peak = 0
    for number, call in enumerate(calls):
        for name in (result.name for result in call.results if result.name not in outputs):
            alive += sizes[name]
            dying.setdefault(last_use.get(name, number), []).append(name)
        peak = max(peak, alive)
        alive -= sum(sizes[name] for name in dying.pop(number, ()))
    return peak


def _bytes(type_: TensorType) -> int:
    """On the device, where int64 has become int32."""
    if type_.dtype is None or type_.shape is None:
        return 0
    width = 4 if type_.dtype is torch.int64 else type_.dtype.itemsize
    return math.prod(type_.shape) * width


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
