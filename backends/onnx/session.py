"""Programs, and single stages for state that travels between devices, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor

from halocline.backends.onnx.engine import Engines
from halocline.backends.onnx.stage_padding import StagePadding
from halocline.executor import Session, StageSession
from halocline.lowering import Program, StagePrograms, Value, flatten
from halocline.lowering.stage_function import COTANGENT
from halocline.program import ProgramInputs, ProgramOutputs, TableInputs
from halocline.program.capacity import Capacity, crop, pad


@final
class OnnxSession(Session):
    """Pads inputs to the next bucket of sizes, runs, and takes the padding off again.

    Args:
        engines: of a program in table form.
        others: shapes of what the backbone says of an atom beside its energy.
    """

    def __init__(self, engines: Engines, others: Sequence[tuple[int, ...]] = ()) -> None:
        self._engines, self._others = engines, others

    def __call__(self, inputs: ProgramInputs) -> ProgramOutputs:
        """See `Session`."""
        assert isinstance(inputs, TableInputs)
        if not inputs.levels[0]:  # nothing is owned, and ONNX Runtime takes no empty tensors
            others = (inputs.seeds.new_zeros((0, *shape)) for shape in self._others)
            return ProgramOutputs(inputs.seeds.clone(), inputs.vectors.new_zeros(inputs.vectors.shape), *others)
        capacity = Capacity.bucket(inputs)
        return crop(ProgramOutputs(*self._engines(flatten(pad(inputs, capacity)))), inputs, capacity)


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
        padding, program = StagePadding(state, inputs), self._programs.value
        if not padding.written:  # ONNX Runtime takes no empty tensors
            return {each.name: padding.zeros_written(each.name, each) for each in program.manifest.outputs}
        written = _run(self._value, program, _reads(padding, state))
        return {name: padding.crop_written(name, values) for name, values in written.items()}

    def product(
        self, state: Mapping[str, Tensor], inputs: ProgramInputs | None, cotangents: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `StageSession.product`."""
        if self._product is None:
            return {}
        padding, program = StagePadding(state, inputs), self._programs.vjp
        if not padding.written:
            read = _cotangents(program.manifest.outputs)
            return {name: padding.zeros_read(name, each) for name, each in read.items()}
        pulls = {}
        for name, each in _cotangents(program.manifest.inputs).items():
            values = cotangents[name] if name in cotangents else padding.zeros_written(name, each)
            pulls[each.name] = padding.pad_cotangents(name, values)
        products = _run(self._product, program, _reads(padding, state) | pulls)
        named = {name.removeprefix(COTANGENT): values for name, values in products.items()}
        return {name: padding.crop_read(name, values) for name, values in named.items()}


def _reads(padding: StagePadding, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State and edges, padded."""
    return {name: padding.pad_state(name, values) for name, values in state.items()} | padding.pad_edges()


def _cotangents(values: tuple[Value, ...]) -> dict[str, Value]:
    """Those that are cotangents, by the name of what they are cotangents of."""
    return {each.name.removeprefix(COTANGENT): each for each in values if each.name.startswith(COTANGENT)}


def _run(engines: Engines, program: Program, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From named tensors to named tensors."""
    results = engines([tensors[each.name] for each in program.manifest.inputs])
    return {each.name: result for each, result in zip(program.manifest.outputs, results, strict=True)}
