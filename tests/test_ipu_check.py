"""The check of IPU programs: what the box lowers conforms, and memory is estimated as documented."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import pairwise

import pytest
from ipu_programs import BACKBONES, call, handmade, lowered, ref

from halocline.backends.ipu.check import check_program, examine, require_conformance
from halocline.backends.ipu.check.memory import BUDGET, IPU_MEMORY
from halocline.backends.ipu.check.operations import LATEST, supported
from halocline.backends.ipu.program_file import Input
from halocline.errors import LoweringError, UsageError


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("sdk", ["3.3", "3.4"])
def test_lowered_backbones_conform(name, sdk):
    assert check_program(lowered(name), sdk=sdk) == ()


@pytest.mark.parametrize("name", BACKBONES)
def test_lowered_backbones_need_little_memory(name):
    report = examine(lowered(name))
    assert report.memory.fits
    assert report.memory.warnings == ()


def test_lists_of_operations_grow_with_the_sdk():
    assert supported("3.1") < supported("3.2") < supported("3.3") == supported("3.4")
    assert LATEST == "3.4"


def test_operation_is_judged_by_the_sdk_that_compiles_it():
    program = handmade()
    program = replace(program, operations=(*program.operations, call("mish.default", ref("x"))))
    assert check_program(program) == ()
    assert [violation.rule for violation in check_program(program, sdk="3.2")] == ["handler"]


def test_unknown_sdk_is_named():
    with pytest.raises(UsageError, match=r"'2\.0'.*3\.1"):
        check_program(handmade(), sdk="2.0")


def test_error_shows_the_first_violations_and_counts_the_others():
    program = handmade()
    bad = tuple(call("erfinv.default", ref("x"), to=(f"bad_{n}",)) for n in range(5))
    with pytest.raises(LoweringError) as caught:
        require_conformance(replace(program, operations=(*program.operations, *bad)))
    message = str(caught.value)
    assert message.count("[handler]") == 3
    assert "operation 3 (aten.erfinv.default)" in message
    assert message.endswith("And 2 more.")


def test_memory_is_weights_and_buffers_and_the_peak_of_results():
    memory = examine(handmade(), buffering=3).memory
    # weight 3 float32, whole 2 int64 that the device narrows to int32, mask 4 bool
    assert memory.constants == 3 * 4 + 2 * 4 + 4 * 1
    # x (4, 3) float32, indices (2,) int32, sums (2,) float32
    assert memory.exchanged == 3 * (12 * 4 + 2 * 4 + 2 * 4)
    # rows and scaled, both (2, 3) float32, live together until scaled is computed
    assert memory.results == 2 * 6 * 4
    assert memory.optimizer == 0
    assert memory.total == memory.constants + memory.exchanged + memory.results


def test_results_are_freed_after_their_last_use():
    program = handmade()
    names = ["scaled", *(f"step_{n}" for n in range(10))]
    steps = [call("relu.default", ref(a), to=(b,)) for a, b in pairwise(names)]
    last = call("sum.dim_IntList", ref(names[-1]), [1], to=("sums",))
    longer = replace(program, operations=(*program.operations[:-1], *steps, last))
    assert examine(longer).memory.results == examine(program).memory.results


def test_training_keeps_results_gradients_and_moments():
    memory = examine(handmade(), training=True).memory
    assert memory.results == (6 + 6 + 2) * 4
    assert memory.optimizer == 3 * 3 * 4  # for the weight


def test_budget_leaves_room_for_code():
    assert IPU_MEMORY == 940_572_672
    assert BUDGET < 0.6 * IPU_MEMORY + 1


def test_large_tensors_are_logged_not_refused(caplog):
    program = with_large_input(handmade(), elements=BUDGET // 4 // 3)
    with caplog.at_level(logging.WARNING):
        require_conformance(program)
    assert [record.message.split()[0] for record in caplog.records] == ["large"]


def test_too_large_programs_say_what_they_need():
    program = with_large_input(handmade(), elements=BUDGET // 4 + 1)
    (violation,) = check_program(program)
    assert violation.rule == "memory"
    assert "inputs and outputs 538.2 MiB" in violation.sentence


def test_report_without_names_has_no_memory():
    report = examine(replace(handmade(), outputs=("nothing",)))
    assert report.memory is None


def with_large_input(program, elements):
    large = Input("large", "float32", (elements,))
    declared = {"name": "large", "dtype": "float32", "shape": [elements]}
    manifest = {**program.manifest, "inputs": [*program.manifest["inputs"], declared]}
    return replace(program, inputs=(*program.inputs, large), manifest=manifest)
