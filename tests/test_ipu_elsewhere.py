"""The runner under the version of torch that PopTorch needs, where an interpreter that has it is named."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest
from ipu_programs import BACKBONES, backbone, call, capacity, lowered, ref

from halocline.backends.ipu.interpreter import VARIABLE, Interpreter
from halocline.backends.ipu.rehearsal.elsewhere import rehearse_elsewhere
from halocline.backends.ipu.rehearsal.subject import RehearsedProgram

pytestmark = pytest.mark.slow  # each replay is a process that imports torch

#: What PopTorch of the SDK 3.3 and 3.4 is built for.
TORCH = "2.0.1"


def subject(name):
    model = backbone(name)
    return RehearsedProgram(lowered(name), model, capacity(model.hops))


def test_replay_in_another_process_is_the_same():
    assert list(rehearse_elsewhere(subject("lennard-jones"), Interpreter.find(sys.executable))) == []


@pytest.mark.parametrize(
    ("sentence", "output", "operation"),
    [
        ("has no operation", 0, call("invented.default", ref("vectors"), to=("bad",))),
        ("differs by", 1, call("neg.default", ref("vectors"), to=("bad",))),
        ("does not run", 0, call("nonzero.default", ref("vectors"), to=("bad",))),
    ],
)
def test_replay_that_goes_wrong_is_reported(sentence, output, operation):
    broken = subject("lennard-jones")
    outputs = list(broken.program.outputs)
    outputs[output] = "bad"
    # Only the other process is given this program.
    broken.program = replace(
        broken.program, operations=(*broken.program.operations, operation), outputs=tuple(outputs)
    )
    (violation,) = rehearse_elsewhere(broken, Interpreter.find(sys.executable))
    assert violation.rule == "elsewhere"
    assert sentence in violation.sentence


@pytest.mark.parametrize("name", BACKBONES)
def test_replay_under_the_torch_of_poptorch_is_the_same(name):
    path = os.environ.get(VARIABLE)
    if not path:
        pytest.skip(f"{VARIABLE} does not name a Python with torch {TORCH}")
    interpreter = Interpreter.find(path)
    found = interpreter.versions.get("torch", "none")
    if found.partition("+")[0] != TORCH:
        pytest.skip(f"the Python of {VARIABLE} has torch {found}, not {TORCH}")
    assert list(rehearse_elsewhere(subject(name), interpreter)) == []
