"""Small programs for IPUs: one written by hand, and those of lowered backbones."""

from __future__ import annotations

from functools import cache

import numpy as np

from halocline.aggregation import Form
from halocline.backends.ipu.program_file import Input, IpuProgram, Operation
from halocline.backends.ipu.translate import from_lowered
from halocline.lowering import lower
from halocline.model.build import build_with_seed
from halocline.plugins.backbones.lennard_jones import LennardJones
from halocline.plugins.backbones.schnet import SchNet
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.program.capacity import Capacity

BACKBONES = {"lennard-jones": LennardJones, "schnet": SchNet}


def ref(name):
    return {"ref": name}


def call(target, *args, to=("extra",), **kwargs):
    """One operation of a program."""
    return Operation(f"aten.{target}", args, kwargs, to)


def handmade():
    """x, (4, 3), indices (2,): some rows of x, times a weight, summed."""
    return IpuProgram(
        inputs=(Input("x", "float32", (4, 3)), Input("indices", "int64", (2,))),
        constants={
            "weight": np.full((3,), 2.0, np.float32),
            "whole": np.array([1, 2], np.int64),
            "mask": np.array([True, False, True, False]),
        },
        operations=(
            call("index_select.default", ref("x"), 0, ref("indices"), to=("rows",)),
            call("mul.Tensor", ref("rows"), ref("weight"), to=("scaled",)),
            call("sum.dim_IntList", ref("scaled"), [1], to=("sums",)),
        ),
        outputs=("sums",),
        manifest={
            "inputs": [
                {"name": "x", "dtype": "float32", "shape": [4, 3]},
                {"name": "indices", "dtype": "int64", "shape": [2]},
            ],
            "outputs": [{"name": "sums", "dtype": "float32", "shape": [2]}],
        },
        parameters={"weight": "layer.weight"},
    )


@cache
def backbone(name):
    """A backbone of the size of its example."""
    return build_with_seed(BACKBONES[name], BACKBONES[name].example_config())


def capacity(hops, atoms=24, width=20):
    """Room for a whole structure."""
    return Capacity(levels=(atoms,) * (hops + 1), width=width, transposed=width)


@cache
def lowered(name, atoms=24, width=20):
    """The program of a backbone's example."""
    model = backbone(name)
    program = FrozenModel.freeze(model, Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    return from_lowered(lower(program, capacity=capacity(model.hops, atoms, width)))
