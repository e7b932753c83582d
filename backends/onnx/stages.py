"""Single stages in ONNX Runtime, for state that travels between devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from halocline.backends.onnx.engines import Engines
from halocline.executor import StageSession
from halocline.lowering import Lowered, StagePrograms, Value
from halocline.lowering.arguments import block_tensors, markers
from halocline.lowering.stage_function import COTANGENT
from halocline.program import ProgramInputs, TableInputs
from halocline.program.capacity import Capacity, bucket_levels, crop_edges, homes, pad


@final
class OnnxStage(StageSession):
    """Pads what a stage reads to the next bucket of sizes, runs, and takes the padding off again.

    Args:
        programs: the stage as it was lowered.
        value: its value, compiled.
        product: its vector-Jacobian product, compiled; None for a stage that reads no floats.
    """

    def __init__(self, programs: StagePrograms, value: Engines, product: Engines | None) -> None:
        self._programs, self._value, self._product = programs, value, product

    def value(self, state: Mapping[str, Tensor], inputs: ProgramInputs | None) -> dict[str, Tensor]:
        """See `StageSession.value`."""
        sizes, program = _Sizes(state, inputs), self._programs.value
        if not sizes.written:  # ONNX Runtime takes no empty tensors
            return {each.name: _zeros(each, 0, sizes.device) for each in program.manifest.outputs}
        written = _run(self._value, program, {**sizes.pad_state(state), **sizes.edges()})
        return {name: values[: sizes.written] for name, values in written.items()}

    def product(
        self, state: Mapping[str, Tensor], inputs: ProgramInputs | None, cotangents: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `StageSession.product`."""
        if self._product is None:
            return {}
        sizes, program = _Sizes(state, inputs), self._programs.vjp
        if not sizes.written:
            read = {each.name: sizes.no_cotangents(each) for each in program.manifest.outputs}
        else:
            pulls = {
                each.name: sizes.pad_cotangents(each, cotangents.get(each.name.removeprefix(COTANGENT)))
                for each in program.manifest.inputs
                if each.name.startswith(COTANGENT)
            }
            padded = _run(self._product, program, {**sizes.pad_state(state), **sizes.edges(), **pulls})
            read = {name: sizes.crop(name, values) for name, values in padded.items()}
        return {name.removeprefix(COTANGENT): values for name, values in read.items()}


@final
class _Sizes:
    """The sizes of what a stage is given, and those that it is padded to.

    Args:
        state: what the stage reads.
        inputs: its edges; None without hops.
    """

    def __init__(self, state: Mapping[str, Tensor], inputs: ProgramInputs | None) -> None:
        assert inputs is None or isinstance(inputs, TableInputs)
        first = next(iter(state.values()))
        self.device, self._inputs = first.device, inputs
        levels = (len(first),) if inputs is None else inputs.levels
        self.written, self._read = levels[0], levels[-1]
        self._capacity = None if inputs is None else Capacity.bucket(inputs)
        room = bucket_levels(levels)
        self._room_written, self._room_read = room[0], room[-1]
        self._homes = homes(levels, room).to(self.device)

    def edges(self) -> dict[str, Tensor]:
        """Everything about edges that the stage takes, by name."""
        if self._inputs is None or self._capacity is None:
            return {}
        padded = pad(self._inputs, self._capacity)
        return {**block_tensors(padded), **markers(padded, first=0)}

    def pad_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Padding repeats the first atom, so that whatever a stage computes there is as finite as elsewhere."""
        padded = {}
        for name, values in state.items():
            padded[name] = values[:1].repeat(self._room_read, *[1] * (values.ndim - 1))
            padded[name][self._homes] = values
        return padded

    def pad_cotangents(self, value: Value, cotangents: Tensor | None) -> Tensor:
        """Nothing depends on padding; cotangents that are missing are zero."""
        padded = _zeros(value, self._room_written, self.device)
        if cotangents is not None:
            padded[: self.written] = cotangents
        return padded

    def crop(self, name: str, values: Tensor) -> Tensor:
        """What the product says of the original atoms and edges."""
        if name != COTANGENT + "vectors":
            return values[self._homes]
        assert self._inputs is not None
        assert self._capacity is not None
        return crop_edges(values, self._inputs, self._capacity)

    def no_cotangents(self, value: Value) -> Tensor:
        """Zeros in the shape that `crop` gives."""
        if value.name != COTANGENT + "vectors":
            return _zeros(value, self._read, self.device)
        assert self._inputs is not None
        return torch.zeros_like(self._inputs.vectors)


def _run(engines: Engines, lowered: Lowered, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From named tensors to named tensors."""
    results = engines([tensors[each.name] for each in lowered.manifest.inputs])
    return {each.name: result for each, result in zip(lowered.manifest.outputs, results, strict=True)}


def _zeros(value: Value, rows: int, device: torch.device) -> Tensor:
    """A tensor with that many rows, otherwise like the one described."""
    shape = [size for size in value.shape[1:] if isinstance(size, int)]
    return torch.zeros((rows, *shape), dtype=getattr(torch, value.dtype), device=device)
