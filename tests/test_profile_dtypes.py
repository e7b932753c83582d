"""What operators compute in is observed, not read from a configuration."""

import pytest
import torch
from ase.build import bulk
from torch import nn

import halocline
from halocline.graph import Radius
from halocline.graph.compiled import steps
from halocline.model import Backbone, Stage, StageSpec, State
from halocline.potential.potential import Potential
from halocline.profile import observed_dtypes

CUTOFF = 4.0


class Look(Stage):
    spec = StageSpec(hops=0)

    def forward(self, state, *blocks):
        return State({"features": torch.ones(len(state.atoms["species"]), 4, dtype=self.one.dtype)}, {})

    def __init__(self):
        super().__init__()
        self.register_buffer("one", torch.zeros(1, dtype=torch.float64))


class Careless(Stage):
    """Has a constant that no cast reaches."""

    def __init__(self, dtype):
        super().__init__()
        self.spec, self.dtype = StageSpec(hops=1, neighbours=Radius(CUTOFF)), dtype

    def forward(self, state, *blocks):
        (block,) = blocks
        scale = torch.full((4,), 0.5, dtype=self.dtype or block.vectors.dtype)
        messages = block.at_senders(state.atoms["features"]) * block.lengths()[..., None] ** -2
        return State({"features": block.sum((messages * scale).to(block.vectors.dtype))}, {})


class Total(Stage):
    spec = StageSpec(hops=0)

    def forward(self, state, *blocks):
        return State({"energies": state.atoms["features"].sum(1)}, {})


class Toy(Backbone):
    name, species, config = "toy", ("Ar",), {}

    def __init__(self, dtype=None):
        super().__init__()
        self.embed, self.layers = Look(), nn.ModuleList([Careless(None), Careless(dtype)])
        self.total = Total()

    @classmethod
    def from_config(cls, config):
        return cls()

    @classmethod
    def example_config(cls):
        return {}

    @property
    def readouts(self):
        return {2: self.total}

    def pruned_config(self, layers):
        return self.config


@pytest.fixture
def argon():
    return bulk("Ar", "fcc", a=5.3, cubic=True) * 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stages_compute_in_what_was_asked_for(argon, dtype, monkeypatch):
    # Only operators of torch are observed, which compiled sums are not.
    monkeypatch.setattr(steps, "functions", None)
    potential = halocline.load("lennard-jones-argon")
    found = observed_dtypes(lambda: potential(argon, dtype=dtype))
    assert {"embed", "layers.0"} <= set(found)
    assert {each for stage, seen in found.items() if stage for each in seen} == {getattr(torch, dtype)}
    # Forces are summed in float64 whatever the network computes in.
    assert torch.float64 in found[""]


def test_constant_of_another_dtype_is_seen_where_it_is(argon):
    def found(dtype):
        potential = Potential(Toy(dtype), {"Ar": 0.0}, {})
        seen = observed_dtypes(lambda: potential(argon))
        return {stage: set(dtypes) for stage, dtypes in seen.items() if stage}

    assert set.union(*found(None).values()) == {torch.float32}
    careless = found(torch.float64)
    assert careless["layers.1"] == {torch.float32, torch.float64}
    assert careless["layers.0"] == careless["readouts.2"] == {torch.float32}


def test_half_precision_and_conversions():
    values = torch.arange(6.0).view(2, 3)
    seen = observed_dtypes(lambda: (values.bfloat16() @ values.bfloat16().T).double())
    assert seen == {"": {torch.bfloat16: 4}}


def test_first_call_is_not_looked_at():
    calls = []
    seen = observed_dtypes(lambda: calls.append(torch.ones(2, dtype=torch.float64 if calls else torch.half) * 2))
    assert len(calls) == 2
    assert seen == {"": {torch.float64: 2}}


def test_modes_and_autograd_of_the_host_are_left_alone(argon):
    potential = halocline.load("lennard-jones-argon")
    with torch.inference_mode():
        inside = observed_dtypes(lambda: potential(argon))
    assert inside == observed_dtypes(lambda: potential(argon))
    assert torch._C._len_torch_dispatch_stack() == 0


@pytest.mark.parametrize("options", [{"halo": "exchange", "partition": "rcb:2"}, {"backend": "onnx"}])
def test_stages_that_run_alone_keep_their_names_and_compiled_ones_show_none(argon, options):
    if options.get("backend") == "onnx":
        pytest.importorskip("onnxruntime")
    potential = halocline.load("lennard-jones-argon")
    stages = set(observed_dtypes(lambda: potential(argon, **options))) - {""}
    assert stages == ({"embed", "layers.0"} if "halo" in options else set())
