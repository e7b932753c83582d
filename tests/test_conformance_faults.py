"""The suite can fail: each fault, put into the documented example, turns exactly the expected checks red."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from halocline.model import StageSpec, State
from halocline.testing import check_backbone

PAGE = Path(__file__).parents[1] / "docs" / "backbones.md"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The example of the documentation as a module of its own."""
    source = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    path = tmp_path / "documented_example.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def check(example, **changes):
    """The example's results, by check."""
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(1)
    backbone = example.Pebble.from_config(example.Pebble.example_config() | changes)
    torch.random.set_rng_state(torch_state)
    return {result.check: result for result in check_backbone(backbone).results}


def test_documented_example_keeps_the_contract(example):
    results = check(example)
    assert {r.check: r.message for r in results.values() if r.status == "failed"} == {}
    assert [r.check for r in results.values() if r.status == "skipped"] == ["loading", "channels"]
    assert [r.check for r in results.values() if r.status == "warned"] == []


def test_readouts_with_hops_work_in_parts(example, monkeypatch):
    """One that reads neighbours after the first of three layers needs fewer atoms than that layer gives."""

    class Bonds(example.Layer):
        def forward(self, state, *blocks):
            (block,) = blocks
            messages = block.at_senders(state.atoms["x"]) * block.radial(self.weights)
            return State({"energies": block.sum(messages).sum(1)}, {})

    right = example.Pebble.__init__

    def init(self, config):
        right(self, config)
        self.bonds = Bonds(config)

    monkeypatch.setattr(example.Pebble, "__init__", init)
    monkeypatch.setattr(example.Pebble, "readouts", property(lambda self: {1: self.bonds, 3: self.readout}))
    backbone = example.Pebble.from_config(example.Pebble.example_config() | {"layers": 3})
    report = check_backbone(backbone, checks=["receptive-field", "forms", "parts"])
    assert [r.message for r in report.results if r.status != "passed"] == []


def detached_energy(module):
    """Half of the energy is cut off from its gradient."""

    def forward(self, state, *blocks):
        energies = self.out(state.atoms["x"])[:, 0]
        return State({"energies": 0.5 * energies + 0.5 * energies.detach()}, {})

    return module.Readout, "forward", forward


def under_declared_hops(module):
    """A layer that passes messages twice and declares one hop."""

    def forward(self, state, *blocks):
        (block,) = blocks
        x = state.atoms["x"]
        for _ in range(2):
            update = block.sum(block.at_senders(x) * block.radial(self.weights))
            x = torch.cat([block.targets(x) + torch.tanh(self.mix(update)), x[block.n_out :]])
        return State({"x": block.targets(x)}, {})

    return module.Layer, "forward", forward


def abrupt_cutoff(module):
    """Messages that do not fade before the cutoff."""
    return module.Layer, "weights", lambda self, lengths: self.filter((lengths / self.cutoff)[..., None])


def kinked_cutoff(module):
    """Energies end at zero, forces do not."""

    def weights(self, lengths):
        u = (lengths / self.cutoff)[..., None]
        return self.filter(u) * (1 - u)

    return module.Layer, "weights", weights


def order_of_atoms(module):
    """Energies depend on where an atom stands in the list."""

    def forward(self, state, *blocks):
        energies = self.out(state.atoms["x"])[:, 0]
        return State({"energies": energies * (1.0 + 0.01 * torch.arange(len(energies)))}, {})

    return module.Readout, "forward", forward


def sum_over_all_atoms(module):
    """A layer that looks at everything it is given."""
    right = module.Layer.forward

    def forward(self, state, *blocks):
        x = right(self, state, *blocks).atoms["x"]
        return State({"x": x + 0.01 * torch.tanh(x.sum(0))}, {})

    return module.Layer, "forward", forward


def handedness(module):
    """Energies that tell a structure from its mirror image."""

    def forward(self, state, *blocks):
        (block,) = blocks
        x = block.targets(state.atoms["x"])
        lengths = block.lengths()[..., None]
        fade = (1 - (lengths / self.cutoff) ** 2) ** 3
        one, two, three = (block.sum(block.vectors * fade * lengths**power) for power in range(3))
        volume = (torch.linalg.cross(one, two) * three).sum(1, keepdim=True)
        return State({"x": x + torch.tanh(self.mix(x * (1 + 1e-3 * volume)))}, {})

    return module.Layer, "forward", forward


def preferred_axis(module):
    """Messages along z count more."""

    def forward(self, state, *blocks):
        (block,) = blocks
        x = state.atoms["x"]
        tilt = 1.0 + 0.1 * block.vectors[..., 2:] ** 2
        messages = block.at_senders(x) * block.radial(self.weights) * tilt
        return State({"x": block.targets(x) + torch.tanh(self.mix(block.sum(messages)))}, {})

    return module.Layer, "forward", forward


def mean_over_neighbours(module):
    """Zero divided by zero where there are none, and a jump where one leaves."""

    def forward(self, state, *blocks):
        (block,) = blocks
        x = state.atoms["x"]
        total = block.sum(block.at_senders(x) * block.radial(self.weights))
        count = block.sum(torch.ones_like(block.vectors[..., :1]))
        return State({"x": block.targets(x) + torch.tanh(self.mix(total / count))}, {})

    return module.Layer, "forward", forward


def padding_counts(module):
    """A mask taken for a sign of something else: both forms differ."""
    right = module.Layer.weights

    def forward(self, state, *blocks):
        (block,) = blocks
        x = state.atoms["x"]
        scale = 1.0 if block.mask is None else 1.01
        messages = scale * block.at_senders(x) * block.radial(lambda lengths: right(self, lengths))
        return State({"x": block.targets(x) + torch.tanh(self.mix(block.sum(messages)))}, {})

    return module.Layer, "forward", forward


def constant_in_float64(module):
    """A tensor that is no buffer and stays behind when the model is cast."""
    right = module.Layer.weights

    def weights(self, lengths):
        return right(self, lengths) * torch.ones(1, dtype=torch.float64)

    return module.Layer, "weights", weights


def noise(module):
    """Random numbers in evaluation, as small as they may be; with other seeds, stress may notice as well."""
    torch.manual_seed(0)

    def forward(self, state, *blocks):
        energies = self.out(state.atoms["x"])[:, 0]
        return State({"energies": energies + 1e-13 * torch.randn_like(energies).detach()}, {})

    return module.Readout, "forward", forward


def species_written_over(module):
    """The input is changed in place."""

    def forward(self, state, *blocks):
        return State({"x": self.table(state.atoms["species"].clamp_(max=7))}, {})

    return module.Embed, "forward", forward


def default_dtype_of_the_host(module):
    """A number that is rounded to whatever dtype the host gives to floats."""
    right = module.Layer.weights
    return module.Layer, "weights", lambda self, lengths: right(self, lengths) * torch.tensor(1.1).item()


def tuple_in_config(module):
    """A config that JSON cannot hold as it is."""
    right = module.Pebble.__init__

    def init(self, config):
        right(self, config)
        self.config = self.config | {"species": tuple(config.species)}

    return module.Pebble, "__init__", init


def pruning_that_forgets(module):
    """Pruning keeps the layers it was asked to drop."""
    return module.Pebble, "pruned_config", lambda self, layers: self.config


def widening_that_changes(module):
    """A model with more elements has another cutoff."""

    def widened_config(self, elements):
        return self.config | {"species": [*self.species, *elements], "cutoff": 0.9 * self.config["cutoff"]}

    return module.Pebble, "widened_config", widened_config


GRADIENTS = {"forces", "stress", "training", "pruning"}
#: Torch and ONNX lower the same stages and meet the same fault.
LOWERED = {"lowering", "operations"}

FAULTS = {
    detached_energy: GRADIENTS,
    under_declared_hops: {"receptive-field", "parts", "pruning"},
    abrupt_cutoff: {"smoothness"},
    kinked_cutoff: {"smoothness"},
    order_of_atoms: LOWERED | {"no-neighbours", "extensivity", "permutation", "parts", "pruning", "host-contexts"},
    sum_over_all_atoms: {"no-neighbours", "extensivity", "receptive-field", "parts", "pruning"},
    handedness: {"reflection"},
    preferred_axis: {"rotation", "reflection"},
    mean_over_neighbours: LOWERED | {"one-atom", "no-neighbours", "species", "smoothness"},
    padding_counts: {"forms", "parts", "pruning"},
    constant_in_float64: {"float32", "host-contexts"},
    noise: LOWERED | {"config", "smoothness", "saving", "pruning", "elements", "determinism", "global-state"},
    species_written_over: LOWERED | {"inputs-unchanged"},
    default_dtype_of_the_host: {"host-contexts"},
    tuple_in_config: {"config", "pruning", "elements"},
    pruning_that_forgets: {"pruning"},
    widening_that_changes: {"elements"},
}


#: Always shown; the others take the suite's time once each.
QUICK = (detached_energy, under_declared_hops, abrupt_cutoff)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(f, id=f.__name__, marks=[] if f in QUICK else pytest.mark.slow) for f in FAULTS],
)
def test_fault_is_found(fault, example, monkeypatch):
    monkeypatch.setattr(*fault(example))
    results = check(example)
    assert {r.check for r in results.values() if r.status == "failed"} == FAULTS[fault]


def test_a_lost_graph_is_found_by_name(example, monkeypatch):
    """Without the error, energies would be right and every force zero."""
    right = example.Layer.weights
    monkeypatch.setattr(example.Layer, "weights", lambda self, lengths: right(self, lengths).detach())
    backbone = example.Pebble.from_config(example.Pebble.example_config())
    results = check_backbone(backbone, checks=["forces", "receptive-field", "host-contexts", "lowering"]).results
    assert all(r.status == "failed" and "do not depend on the positions" in r.message for r in results)


def test_hops_in_vain_are_a_warning(example, monkeypatch):
    right, right_init = example.Layer.forward, example.Layer.__init__

    def init(self, config):
        right_init(self, config)
        self.spec = StageSpec(hops=2, neighbours=self.spec.neighbours)

    def forward(self, state, *blocks):
        outer, inner = blocks
        return right(self, State({"x": outer.targets(state.atoms["x"])}, {}), inner)

    monkeypatch.setattr(example.Layer, "__init__", init)
    monkeypatch.setattr(example.Layer, "forward", forward)
    results = check(example)
    assert results["receptive-field"].status == "warned"
    assert [r.message for r in results.values() if r.status == "failed"] == []
