"""The check of IPU programs can fail: whatever PopTorch cannot have, put into a good program, is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ipu_programs import call, handmade, ref

from halocline.backends.ipu.check import check_program, require_conformance
from halocline.backends.ipu.program_file import Input
from halocline.errors import LoweringError

PAGE = Path(__file__).parents[1] / "docs" / "ipu.md"

#: Rule → operations, each of which breaks it when it is added to the program.
OPERATIONS = {
    "accumulate": [
        call("index_put.default", ref("x"), [ref("indices")], ref("rows"), True),
        call("index_put.default", ref("x"), [ref("indices")], ref("rows"), accumulate=True),
    ],
    "arguments": [
        call("relu.default", ref("x"), 3),
        call("mul.Tensor", ref("x")),
        call("relu.default", ref("x"), inplace=True),
        call("to.dtype", ref("x"), {"dtype": "float12"}),
    ],
    "backward": [
        call("sigmoid_backward.default", ref("x"), ref("x")),
        call("tanh_backward.default", ref("x"), ref("x")),
        call("softplus_backward.default", ref("x"), ref("x"), 1.0, 20.0),
        call("embedding_dense_backward.default", ref("rows"), ref("indices"), 4, -1, False),
    ],
    "constant": [
        call("clamp.Tensor", ref("x"), ref("weight")),
        call("narrow.default", ref("x"), 0, ref("indices"), 1),
        call("sum.dim_IntList", ref("x"), ref("indices")),
    ],
    "data-dependent": [
        call("nonzero.default", ref("x")),
        call("item.default", ref("weight")),
        call("_local_scalar_dense.default", ref("weight")),
        call("masked_select.default", ref("x"), ref("mask")),
        call("unique_consecutive.default", ref("x"), to=("a", "b", "c")),
        call("index.Tensor", ref("x"), [ref("mask")]),
        call("repeat_interleave.Tensor", ref("indices")),
    ],
    "device": [
        call("to.device", ref("x"), "cpu", {"dtype": "float32"}),
        call("ones_like.default", ref("x"), device="cpu"),
        call("zeros_like.default", ref("x"), pin_memory=True),
    ],
    "dtype": [
        call("to.dtype", ref("x"), {"dtype": "float64"}),
        call("to.dtype", ref("x"), {"dtype": "bfloat16"}),
        call("to.dtype", ref("x"), {"dtype": "complex64"}),
    ],
    "dynamic-size": [
        call("expand.default", ref("x"), ["n_0", 4, 3]),
        call("view.default", ref("x"), [{"symbol": "s0"}, 3]),
        call("slice.Tensor", ref("x"), 0, 0, "n_0"),
        call("add.Tensor", ref("x"), ref("x"), alpha="s0"),
    ],
    "factory": [
        call("full.default", [2, 3], 1.0),
        call("arange.default", 4),
        call("zeros.default", [3]),
    ],
    "forbidden": [
        call("index_add.default", ref("x"), 0, ref("indices"), ref("rows")),
        call("index_copy.default", ref("x"), 0, ref("indices"), ref("rows")),
        call("slice_scatter.default", ref("x"), ref("rows"), 0, 0, 2),
        call("scalar_tensor.default", 1.0),
        call("nan_to_num.default", ref("x")),
        call("sgn.default", ref("x")),
    ],
    "form": [
        call("argsort.stable", ref("x"), stable=True),
        call("as_strided.default", ref("x"), [2], [1]),
        call("bincount.default", ref("indices")),
        call("cross.default", ref("x"), ref("weight"), 0),
        call("div.Tensor_mode", ref("x"), ref("x"), rounding_mode="floor"),
        call("elu.default", ref("x"), 1.0, 1.0, 2.0),
        call("embedding.default", ref("x"), ref("indices"), -1, True),
        call("embedding.default", ref("x"), ref("indices"), -1, False, True),
        call("linalg_cross.default", ref("x"), ref("weight")),
        call("one_hot.default", ref("indices")),
        call("one_hot.default", ref("indices"), None),
        call("round.decimals", ref("x"), decimals=2),
        call("rsub.Tensor", ref("x"), ref("x"), alpha=2),
        call("slice.Tensor", ref("x"), 0, 0, 4, 0),
        call("sum.dim_IntList", ref("x"), [1], dtype={"dtype": "float16"}),
        call("topk.default", ref("x"), 1, -1, True, False, to=("values", "places")),
        call("triu.default", ref("x")),
        call("var.correction", ref("x"), [1], correction=2),
    ],
    "handler": [
        call("erfinv.default", ref("x")),
        call("logical_xor.default", ref("x"), ref("x")),
        call("linalg_solve.default", ref("x"), ref("x")),
    ],
    "in-place": [
        call("add_.Tensor", ref("x"), 1.0),
        call("copy_.default", ref("rows"), ref("scaled")),
        call("index_put_.default", ref("x"), [ref("indices")], ref("rows")),
        call("mul.out", ref("x"), ref("x"), out=ref("x")),
    ],
    "name": [
        call("relu.default", ref("nothing")),
        call("relu.default", ref("extra")),
        call("relu.default", ref("x"), to=("x",)),
        call("relu.default", ref("x"), to=("rows",)),
    ],
    "number-range": [
        call("add.Scalar", ref("indices"), 2**31),
        call("clamp.default", ref("indices"), -(2**31) - 1),
        call("mul.Scalar", ref("x"), 1e39),
    ],
    "operation": [
        call("invented.default", ref("x")),
        call("relu.invented", ref("x")),
        replace(call("relu.default", ref("x")), target="higher_order.cond"),
        replace(call("relu.default", ref("x")), target="prims.sin.default"),
    ],
    "random": [
        call("bernoulli.default", ref("x")),
        call("rand.default", [3]),
        call("randn_like.default", ref("x")),
        call("native_dropout.default", ref("x"), 0.5, True, to=("kept", "which")),
        call("multinomial.default", ref("weight"), 1),
    ],
    "rank": [call("view.default", ref("x"), [4, 3, *[1] * 7])],
    "reduction": [
        call("scatter_reduce.two", ref("weight"), 0, ref("whole"), ref("weight"), "median"),
        call("index_reduce.default", ref("x"), 0, ref("indices"), ref("rows"), "sumsq"),
        call("scatter.reduce", ref("weight"), 0, ref("whole"), ref("weight"), reduce="subtract"),
    ],
    "shape-inference": [
        call("mm.default", ref("x"), ref("x")),
        call("view.default", ref("x"), [5]),
        call("relu.default", ref("x"), to=("one", "two")),
    ],
    "zero-size": [
        call("slice.Tensor", ref("x"), 0, 2, 2),
        call("slice.Tensor", ref("x"), 0, 3, 1),
    ],
}

#: Rule → changes to other parts of the program, each of which breaks it.
CHANGES = {
    "dtype": [
        ("a float64 constant", lambda p: with_constant(p, np.zeros(3))),
        ("a float64 number", lambda p: with_constant(p, np.array(0.1))),
        ("a uint8 constant", lambda p: with_constant(p, np.zeros(3, np.uint8))),
        ("a float64 input", lambda p: with_input(p, "float64", (4, 3))),
    ],
    "dynamic-size": [
        ("a free size", lambda p: with_input(p, "float32", ("n_0", 3))),
        ("a negative size", lambda p: with_input(p, "float32", (-1, 3))),
        ("a size that is a yes", lambda p: with_input(p, "float32", (True, 3))),
    ],
    "memory": [
        ("a constant beyond memory", lambda p: with_constant(p, np.broadcast_to(np.float32(0), (2**28,)))),
        ("an input beyond memory", lambda p: with_input(p, "float32", (2**28,))),
    ],
    "name": [
        ("an output that nothing gives", lambda p: replace(p, outputs=("nothing",))),
        ("a constant named like an input", lambda p: replace(p, constants={**p.constants, "x": np.ones(3, "f4")})),
    ],
    "number-range": [
        ("a large constant", lambda p: with_constant(p, np.array([2**31]))),
        ("a very negative constant", lambda p: with_constant(p, np.array([-(2**31) - 1]))),
    ],
    "signature": [
        (
            "an input that the manifest lacks",
            lambda p: replace(p, inputs=(*p.inputs, Input("y", "float32", (1,)))),
        ),
        ("inputs in another order", lambda p: replace(p, inputs=p.inputs[::-1])),
        ("an output of another shape", lambda p: replace(p, outputs=("scaled",))),
        ("one more output", lambda p: replace(p, outputs=("sums", "sums"))),
        ("a parameter that is no float", lambda p: replace(p, parameters={"whole": "layer.weight"})),
        ("a parameter that is not there", lambda p: replace(p, parameters={"missing": "layer.weight"})),
    ],
    "zero-size": [
        ("an empty constant", lambda p: with_constant(p, np.zeros((0, 3), np.float32))),
        ("an empty input", lambda p: with_input(p, "float32", (0,))),
    ],
}

#: Nothing is wrong with these.
ACCEPTED = [
    call("add.Tensor", ref("x"), ref("x"), alpha=2),
    call("alias.default", ref("x")),
    call("clamp.default", ref("x"), 0.0, 1.0),
    call("div.Tensor_mode", ref("x"), ref("x"), rounding_mode=None),
    call("embedding.default", ref("x"), ref("indices")),
    call("full_like.default", ref("x"), {"float": "-inf"}),
    call("gather.default", ref("weight"), 0, ref("indices")),
    call("index.Tensor", ref("mask"), [ref("indices")]),
    call("index_put.default", ref("x"), [ref("indices")], ref("rows")),
    call("linalg_cross.default", ref("x"), ref("x")),
    call("scatter_reduce.two", ref("weight"), 0, ref("whole"), ref("weight"), "sum"),
    call("slice.Tensor", ref("x"), 0, 1, 2**63 - 1),
    call("sort.default", ref("x"), to=("values", "places")),
    call("to.dtype", ref("mask"), {"dtype": "float32"}),
    call("topk.default", ref("x"), 1, to=("values", "places")),
    call("var.correction", ref("x"), [1], correction=0),
    call("where.self", ref("mask"), ref("mask"), ref("mask")),
]


def with_constant(program, array):
    return replace(program, constants={**program.constants, "more": array})


def with_input(program, dtype, shape):
    """One more input, in the manifest too."""
    declared = {"name": "more", "dtype": dtype, "shape": list(shape)}
    manifest = {**program.manifest, "inputs": [*program.manifest["inputs"], declared]}
    return replace(program, inputs=(*program.inputs, Input("more", dtype, shape)), manifest=manifest)


def cases():
    for rule, operations in OPERATIONS.items():
        for operation in operations:
            change = lambda p, added=operation: replace(p, operations=(*p.operations, added))  # noqa: E731
            yield pytest.param(rule, change, id=f"{rule}-{operation.target}")
    for rule, changes in CHANGES.items():
        for what, change in changes:
            yield pytest.param(rule, change, id=f"{rule}-{what}")


def test_program_without_changes_conforms():
    assert check_program(handmade()) == ()
    require_conformance(handmade())


@pytest.mark.parametrize(("rule", "change"), list(cases()))
def test_rule_is_enforced(rule, change):
    broken = change(handmade())
    assert {violation.rule for violation in check_program(broken)} == {rule}
    with pytest.raises(LoweringError, match=rf"cannot run on an IPU.*\[{rule}\]"):
        require_conformance(broken)


@pytest.mark.parametrize("operation", ACCEPTED, ids=lambda operation: operation.target)
def test_check_accepts_what_poptorch_does(operation):
    program = handmade()
    assert check_program(replace(program, operations=(*program.operations, operation))) == ()


def test_every_rule_is_documented():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert set(OPERATIONS) | set(CHANGES) <= {row.split("`")[1] for row in rows}
