"""Kernels take the place of stages where they may, visibly; wrong ones do not; operators keep their versions."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from kinds.operator import BUMP, OperatorModel
from structures import random_structure
from test_kinds import onnx
from test_partitioned import RandomOwners, require_equal
from torch import nn

from halocline.aggregation import Form, TabulatedFunction
from halocline.backends.torch.executor import TorchExecutor
from halocline.errors import KernelError, LoweringError, UsageError
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.lowering import lower
from halocline.lowering.keys import program_key
from halocline.model import Stage, State
from halocline.model.build import build_backbone, build_with_seed
from halocline.partition import Division
from halocline.plugins.backbones.schnet.backbone import Interaction
from halocline.plugins.kernels.tables import Tables
from halocline.program import Capabilities, FrozenModel, Precision, replacement
from halocline.program.kernel import Kernel
from halocline.program.operators import CustomOperator, register_operator
from halocline.testing import check_kernel

EDGES = Capabilities.reference(Form.EDGES)
ABLE = Capabilities(
    devices=("cpu",), precisions=tuple(Precision), form=Form.EDGES, custom_operators=True, many_structures=True
)


@torch.library.custom_op("halocline_tests::weigh", mutates_args=())
def weigh(
    values: torch.Tensor, weights: torch.Tensor, senders: torch.Tensor, receivers: torch.Tensor, rows: int
) -> torch.Tensor:
    """Sum over edges of weights times the values of senders."""
    return values.new_zeros((rows, values.shape[1])).index_add(0, receivers, values[senders] * weights)


@torch.library.custom_op("halocline_tests::weigh_slope", mutates_args=())
def weigh_slope(
    pull: torch.Tensor, values: torch.Tensor, senders: torch.Tensor, receivers: torch.Tensor
) -> torch.Tensor:
    """What the sum owes to its weights."""
    return pull[receivers] * values[senders]


weigh.register_fake(lambda values, weights, senders, receivers, rows: values.new_empty((rows, values.shape[1])))
weigh_slope.register_fake(
    lambda pull, values, senders, receivers: values.new_empty((senders.shape[0], values.shape[1]))
)


def _backward(context, pull):
    values, weights, senders, receivers = context.saved_tensors
    # The transpose is a sum over the same edges, told the other way round.
    back = weigh(pull, weights, receivers, senders, values.shape[0])
    return back, weigh_slope(pull, values, senders, receivers), None, None, None


weigh.register_autograd(_backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs[:4]))
WEIGH = register_operator(
    CustomOperator(
        "halocline_tests::weigh",
        1,
        lambda values, weights, senders, receivers, rows: values.new_zeros((rows, values.shape[1])).index_add(
            0, receivers, values.index_select(0, senders) * weights
        ),
    )
)
SLOPE = register_operator(
    CustomOperator(
        "halocline_tests::weigh_slope",
        1,
        lambda pull, values, senders, receivers: pull.index_select(0, receivers) * values.index_select(0, senders),
    )
)


class Wrong(torch.autograd.Function):
    """The identity, with a derivative that is somewhat too large."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0] * 1.001


class FastInteraction(Stage):
    """SchNet's interaction through one operator; or through one that is wrong."""

    def __init__(self, plain: Interaction, fault: str):
        super().__init__()
        self.plain, self.fault, self.spec = plain, fault, plain.spec

    def forward(self, state, *blocks):
        (block,) = blocks
        x, plain = state.atoms["features"], self.plain
        weights = block.radial(plain.filters)
        summed = weigh(plain.sender(x), weights, block.senders, block.receivers, block.n_out)
        if self.fault == "value":
            summed = summed * 1.001
        if self.fault == "gradient":
            summed = Wrong.apply(summed)
        hidden = nn.functional.softplus(plain.receiver(summed), beta=1.0, threshold=60.0) - 0.6931471805599453
        return State({"features": block.targets(x) + plain.out(hidden)}, {})


class Fast(Kernel):
    version = 1
    forms = frozenset({Form.EDGES})
    operators = (WEIGH, SLOPE)
    fault = ""

    def suits(self, stage):
        return isinstance(stage, Interaction)

    def replace(self, stage, form, precision, device):
        return FastInteraction(stage, self.fault)


class WrongValue(Fast):
    fault = "value"


class WrongGradient(Fast):
    fault = "gradient"


class Unwilling(Fast):
    def replace(self, stage, form, precision, device):
        raise KernelError("it is Monday")


def schnet():
    return build_backbone(
        "schnet", {"species": ["H", "O"], "features": 8, "gaussians": 9, "layers": 2, "cutoff": 3.0}
    )


@pytest.fixture
def installed(monkeypatch):
    """Install kernels for the test, beside nothing."""

    def install(*kinds):
        kernels = [(f"tests/{kind.__name__.lower()}", kind()) for kind in kinds]
        monkeypatch.setattr(replacement, "_kernels", lambda environment: iter(kernels))

    return install


def test_a_kernel_runs_where_its_operators_do(installed, caplog):
    installed(Fast)
    with caplog.at_level(logging.INFO, logger="halocline"):
        frozen = FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE)
    assert [each.stage for each in frozen.replaced] == ["layers.0", "layers.1"]
    assert "tests/fast (version 1) runs layers.0, layers.1" in caplog.text
    for unable in (EDGES, Capabilities(devices=("cpu",), precisions=tuple(Precision), form=Form.EDGES)):
        assert not FrozenModel.freeze(schnet(), Precision.FLOAT64, unable).replaced
    assert not FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE, "ipu").replaced


@pytest.mark.parametrize("kind", [WrongValue, WrongGradient, Unwilling])
def test_what_is_wrong_or_unwilling_replaces_nothing(installed, caplog, kind):
    installed(kind)
    frozen = FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE)
    assert not frozen.replaced
    assert f"tests/{kind.__name__.lower()} cannot run layers.0" in caplog.text
    assert len(caplog.records) == (1 if kind is Unwilling else 2)  # each reason once
    assert "The plain stage runs" in caplog.text


class Dear(Fast):
    def pays(self, stage):
        return False


def test_what_does_not_pay_replaces_nothing_and_says_nothing(installed, caplog):
    installed(Dear)
    assert not FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE).replaced
    assert not caplog.records
    assert check_kernel(Dear(), schnet(), checks=["stages"]).ok


class General(Fast):
    general = True


class Idle(General):
    def took_part(self, stage):
        return False


def test_exact_kernels_run_what_was_compressed(installed):
    installed(Fast, Tables)
    frozen = FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE, compress=True)
    expected = [(f"layers.{n}", kernel) for n in range(2) for kernel in ("tests/tables", "tests/fast")]
    assert [(each.stage, each.kernel) for each in frozen.replaced] == expected
    for layer in frozen.backbone.layers:
        assert isinstance(layer, FastInteraction)
        assert isinstance(layer.plain.filters, TabulatedFunction)
    installed(Fast)
    with pytest.raises(KernelError, match="cannot be compressed"):
        FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE, compress=True)


def test_general_kernels_come_last_and_only_where_they_take_part(installed):
    installed(General, Fast)
    frozen = FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE)
    assert {each.kernel for each in frozen.replaced} == {"tests/fast"}
    installed(Idle)
    frozen = FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE)
    assert not frozen.replaced
    assert all(isinstance(layer, Interaction) for layer in frozen.backbone.layers)


@pytest.mark.parametrize("kind", [Fast, Tables])
def test_the_suite_passes(kind):
    report = check_kernel(kind(), schnet())
    assert report.ok, [result for result in report.results if result.status == "failed"]
    assert {result.status for result in report.results} == {"passed"}


@pytest.mark.parametrize("kind", [WrongValue, WrongGradient])
def test_the_suite_finds_what_is_wrong(kind):
    assert not check_kernel(kind(), schnet(), checks=["stages"]).ok


@pytest.mark.parametrize("exchange", [False, True], ids=["recompute", "exchange"])
def test_parts_and_batches_with_a_kernel_are_the_plain_model(installed, exchange):
    model = schnet()
    structures = [Structure.from_atoms(random_structure(seed, atoms=14, edge=(2.5, 9.0))) for seed in range(3)]
    installed()
    plain = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64)
    installed(Fast)
    division = Division("random", RandomOwners(1), 5)
    parts = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64, division, exchange=exchange)
    assert len(parts.replaced) == 2
    for structure in structures:
        require_equal(parts.evaluate(structure), plain.evaluate(structure))
    together = LocalEvaluator(model, TorchExecutor("cpu"), Precision.FLOAT64)
    for found, structure in zip(together.evaluate_many(structures), structures, strict=True):
        require_equal(found, plain.evaluate(structure))


def test_operators_stay_in_programs_of_those_who_run_them(installed):
    installed(Fast)
    frozen = FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE)
    program = lower(frozen)
    called = {str(node.target) for node in program.graph.graph.nodes}
    assert "halocline_tests.weigh.default" in called
    assert program.manifest.versions["operator halocline_tests::weigh"] == "1"
    assert program.manifest.versions["kernel tests/fast"] == "1"
    plain = FrozenModel.freeze(schnet(), Precision.FLOAT64, EDGES)
    assert program_key(frozen, program) != program_key(plain, lower(plain))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["inductor", pytest.param("aot", marks=pytest.mark.exhaustive)])
def test_compiled_programs_call_operators(installed, way):
    installed(Fast)
    structure = Structure.from_atoms(random_structure(1, atoms=14))
    compiled = LocalEvaluator(schnet(), TorchExecutor("cpu", compile=way), Precision.FLOAT64)
    assert compiled.replaced
    installed()
    plain = LocalEvaluator(schnet(), TorchExecutor("cpu"), Precision.FLOAT64)
    require_equal(compiled.evaluate(structure), plain.evaluate(structure))


def test_operators_are_spelled_out_for_the_others():
    model = build_with_seed(OperatorModel, OperatorModel.example_config(), seed=0)
    kept = lower(FrozenModel.freeze(model, Precision.FLOAT64, ABLE))
    assert kept.manifest.versions[f"operator {BUMP.name}"] == str(BUMP.version)
    spelled = lower(FrozenModel.freeze(model, Precision.FLOAT64, onnx().capabilities))
    called = {
        str(node.target).partition(".")[0] for node in spelled.graph.graph.nodes if node.op == "call_function"
    }
    assert "halocline_tests" not in called
    assert not any(name.startswith("operator") for name in spelled.manifest.versions)


def test_the_version_of_an_operator_is_part_of_the_key(monkeypatch):
    from halocline.program import operators

    model = build_with_seed(OperatorModel, OperatorModel.example_config(), seed=0)
    frozen = FrozenModel.freeze(model, Precision.FLOAT64, ABLE)
    before = program_key(frozen, lower(frozen))
    overload = torch.ops.halocline_tests.bump.default
    monkeypatch.setitem(operators._REGISTERED, overload, CustomOperator(BUMP.name, 4, BUMP.composite))
    assert program_key(frozen, lower(frozen)) != before


def test_operators_of_which_nothing_is_known_are_refused(monkeypatch):
    from halocline.program import operators

    monkeypatch.delitem(operators._REGISTERED, torch.ops.halocline_tests.bump.default)
    model = build_with_seed(OperatorModel, OperatorModel.example_config(), seed=0)
    with pytest.raises(LoweringError, match=r"halocline_tests.bump.*register_operator"):
        lower(FrozenModel.freeze(model, Precision.FLOAT64, ABLE))


def test_an_operator_that_torch_does_not_know_is_refused():
    with pytest.raises(KernelError, match="no operator"):
        register_operator(CustomOperator("halocline_tests::nothing", 1, copy.copy))


def test_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(replacement.DISABLED, "tables")
    with pytest.raises(KernelError, match="cannot be compressed"):
        FrozenModel.freeze(schnet(), Precision.FLOAT64, ABLE, compress=True)


def test_the_torch_backend_can_do_without(installed):
    installed(Fast)
    assert LocalEvaluator(schnet(), TorchExecutor("cpu"), Precision.FLOAT64).replaced
    without = TorchExecutor("cpu", kernels="off")
    assert not LocalEvaluator(schnet(), without, Precision.FLOAT64).replaced
    with pytest.raises(UsageError, match="Compression takes kernels"):
        LocalEvaluator(schnet(), without, Precision.FLOAT64, compress=True)
    with pytest.raises(UsageError, match="'no'"):
        TorchExecutor("cpu", kernels="no")
