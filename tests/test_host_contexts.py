"""Whatever the host program has done to torch, the numbers are those of a host that has done nothing."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from structures import random_structure
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import halocline
from halocline.aggregation import Form
from halocline.backends.torch.executor import TorchExecutor
from halocline.context import evaluation_context
from halocline.errors import BackboneError, StructureError, UsageError
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.lowering import flatten, lower, lower_stage
from halocline.model import Stage, StageSpec, State
from halocline.model.build import build_backbone
from halocline.model.chain import chain
from halocline.partition import whole
from halocline.plugin import registry
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients, evaluate
from halocline.program.layout import lay_out
from halocline.spec import Spec
from halocline.testing import tolerances
from halocline.testing.hosts import BUNDLES, HOSTS, together

CONFIG = {"species": ["H", "O"], "features": 16, "gaussians": 12, "layers": 2, "cutoff": 3.5}

#: Backends that prepare within a second or so.
QUICK = ("onnx:threads=1", "ipu:target=cpu")
COMPILED = ("torch:compile=inductor", "torch:compile=aot")


def network():
    return Potential(build_backbone("schnet", CONFIG, seed=1), {"H": -13.6, "O": -2041.8}, {"name": "test"})


@pytest.fixture(scope="module")
def atoms():
    return random_structure(2, pbc=True, atoms=24)


def require_same(found, expected):
    bound = tolerances.FLOAT32_FORCE * np.abs(expected.forces).max() + tolerances.FLOAT32_FORCE_FLOOR
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=bound)
    np.testing.assert_allclose(found.virial, expected.virial, rtol=0, atol=len(found.forces) * bound)
    assert found.energy == pytest.approx(expected.energy, abs=tolerances.FLOAT32_ENERGY * len(found.forces))


def state():
    """What a host may have set, as it would read it."""
    return {
        "inference": torch.is_inference_mode_enabled(),
        "grad": torch.is_grad_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "cache": torch.is_autocast_cache_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": str(torch.get_default_device()),
        "modes": torch._C._len_torch_function_stack(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "products": (
            torch.get_float32_matmul_precision(),
            torch.backends.cuda.matmul.fp32_precision,
            torch.backends.mkldnn.matmul.fp32_precision,
        ),
        "dispatch": torch._C._len_torch_dispatch_stack(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "global": len(torch.nn.modules.module._global_forward_hooks),
        "hooks": torch._C._autograd._top_saved_tensors_default_hooks(True) is None,
    }


@pytest.mark.parametrize("host", HOSTS)
def test_the_host_finds_everything_as_it_was(host, atoms):
    before = state()
    with HOSTS[host]():
        within = state()
        potential = network()
        potential(atoms)
        assert state() == within
        with pytest.raises(StructureError):
            potential(Atoms("H2"))
        assert state() == within
        with pytest.raises(ZeroDivisionError), evaluation_context():
            1 / 0  # noqa: B018
        assert state() == within
    assert state() == before


@pytest.mark.parametrize("host", HOSTS)
def test_the_context_leaves_the_host_and_may_be_entered_again(host):
    with HOSTS[host](), evaluation_context(), evaluation_context():
        tensor = torch.ones(2, 2, requires_grad=True, dtype=torch.float32)
        product = tensor @ tensor
        assert not tensor.is_inference()
        assert product.dtype == torch.float32
        assert product.requires_grad
        assert str(tensor.device) == "cpu"


@pytest.mark.parametrize(
    ("backend", "hosts"),
    [
        *(pytest.param("torch", (host,), id=f"torch | {host}") for host in HOSTS),
        *(pytest.param(name, each, id=f"{name} | {each[0]}, …") for name in QUICK for each in BUNDLES),
    ],
)
def test_first_use_within_then_outside_and_the_other_way_round(hosts, backend, atoms):
    expected = network()(atoms)
    inside, outside = network(), network()
    before = outside(atoms, backend=backend, device="cpu")
    with together(hosts):
        require_same(inside(atoms, backend=backend, device="cpu"), expected)
        require_same(outside(atoms, backend=backend, device="cpu"), expected)
    require_same(inside(atoms, backend=backend, device="cpu"), expected)
    require_same(before, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=[pytest.mark.exhaustive] * name.endswith("aot")) for name in COMPILED]
)
@pytest.mark.parametrize("order", [BUNDLES, BUNDLES[::-1]], ids=["one way", "the other way"])
def test_compiled_within_a_host_and_used_in_another(backend, order, atoms, tmp_path, monkeypatch):
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path))
    expected, potential = network()(atoms), network()
    first, second = order
    with together(first):
        require_same(potential(atoms, backend=backend, device="cpu"), expected)
    require_same(potential(atoms, backend=backend, device="cpu"), expected)
    with together(second):
        require_same(potential(atoms, backend=backend, device="cpu"), expected)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_model_loaded_within_is_the_model(bundle, atoms, tmp_path):
    network().save(tmp_path / "model.safetensors")
    with together(bundle):
        loaded = halocline.load(tmp_path / "model.safetensors")
        pruned = halocline.load(tmp_path / "model.safetensors", prune=1)
        loaded.save(tmp_path / "again.safetensors")
        copied = copy.deepcopy(loaded)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    assert np.array_equal(copied(atoms).forces, loaded(atoms).forces)
    for potential in (loaded, pruned):
        assert not any(tensor.is_inference() for tensor in potential.backbone.state_dict().values())
    assert np.array_equal(loaded(atoms).forces, network()(atoms).forces)
    expected = halocline.load(tmp_path / "model.safetensors", prune=1)(atoms)
    assert np.array_equal(pruned(atoms).forces, expected.forces)


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_parts_and_calculators_within(bundle, halo, atoms):
    expected = network()(atoms)
    with together(bundle):
        require_same(network()(atoms, partition="rcb:3", halo=halo), expected)
        moving = atoms.copy()
        moving.calc = network().calculator()
        assert np.abs(moving.get_forces() - expected.forces).max() < 1e-4


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("form", Form)
def test_direct_calls_within(bundle, form):
    """Inputs made in inference mode are copied; programs are lowered as anywhere else."""
    backbone = network().backbone
    graph = chain(backbone, 9, seed=1)
    part = whole(9, graph.edges, backbone.hops)
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT32, Capabilities.reference(form))
    expected = energies_and_gradients(frozen.backbone, lay_out(graph, part, form, Precision.FLOAT32))
    with together(bundle):
        inputs = lay_out(graph, part, form, Precision.FLOAT32)
        within = energies_and_gradients(frozen.backbone, inputs)
        lowered = lower(frozen)
        stages = lower_stage(frozen, "layers.1")
        frozen = FrozenModel.freeze(backbone, Precision.FLOAT32, Capabilities.reference(form))
    for found in (within, energies_and_gradients(frozen.backbone, inputs)):
        torch.testing.assert_close(tuple(found), tuple(expected), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(lowered(*flatten(inputs.usable())), tuple(expected), rtol=1e-5, atol=1e-6)
    assert stages.vjp.manifest == lower_stage(frozen, "layers.1").vjp.manifest
    assert not any(tensor.is_inference() for tensor in frozen.backbone.state_dict().values())


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap], ids=["grad", "vmap"])
def test_within_transforms(transform, atoms):
    found = []

    def host(x):
        found.append(network()(atoms))
        return (x * x).sum()

    transform(host)(torch.ones(2))
    assert np.array_equal(found[0].forces, network()(atoms).forces)


def test_a_mode_that_rounds_everything_is_not_asked(atoms):
    class Half(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            rounds = isinstance(result, torch.Tensor) and result.is_floating_point()
            return result.half().to(result.dtype) if rounds else result

    with Half():
        found = network()(atoms)
    assert np.array_equal(found.forces, network()(atoms).forces)


def test_a_dispatch_mode_that_rounds_everything_is_not_asked(atoms):
    class Half(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            rounds = isinstance(result, torch.Tensor) and result.is_floating_point()
            return result.half().to(result.dtype) if rounds else result

    for mode in (Half(), FakeTensorMode()):
        with mode:
            potential = network()
            found = potential(atoms)
        assert np.array_equal(found.forces, network()(atoms).forces)
        assert np.array_equal(potential(atoms).forces, found.forces)


TRACERS = {
    "torch.jit.trace": lambda host: torch.jit.trace(host, torch.ones(2)),
    "make_fx": lambda host: make_fx(host, tracing_mode="symbolic")(torch.ones(2)),
    "torch.compile": lambda host: torch.compile(host, backend="eager")(torch.ones(2)),
}


@pytest.mark.slow  # torch's compiler is loaded
@pytest.mark.parametrize("backend", ["torch", "onnx:threads=1"])
@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit, of itself
def test_tracers_of_the_host_record_nothing_of_ours(tracer, backend, atoms):
    found = []

    potential = network()

    def host(x):
        found.append(potential(atoms, backend=backend, device="cpu"))
        return x + 1

    TRACERS[tracer](host)
    require_same(found[0], network()(atoms))


def test_symbolic_traces_are_refused_and_leave_nothing(atoms):
    class Host(torch.nn.Module):
        def forward(self, x):
            return x + network()(atoms).energy

    with pytest.raises(UsageError, match=r"while torch\.fx traces"):
        torch.fx.symbolic_trace(Host())
    assert np.array_equal(network()(atoms).forces, network()(atoms).forces)


def test_hooks_on_modules_of_the_model_are_part_of_it(atoms):
    potential = network()
    before = potential(atoms)
    handle = potential.backbone.readout.register_forward_hook(
        lambda _module, _given, output: State({"energies": output.atoms["energies"] / 2}, {})
    )
    np.testing.assert_allclose(potential(atoms).forces, before.forces / 2, rtol=0, atol=1e-5)
    handle.remove()
    assert np.array_equal(potential(atoms).forces, before.forces)


def test_weights_without_values_are_refused(atoms):
    potential = network()
    potential.backbone.to("meta")
    with pytest.raises(BackboneError, match="no values"):
        potential(atoms)


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_an_interrupt_leaves_everything_as_it_was(atoms, monkeypatch):
    potential = network()
    expected, before = potential(atoms), state()
    with together(BUNDLES[0]):
        within = state()
        with monkeypatch.context() as broken:
            broken.setattr(evaluate, "vector_jacobian_product", interrupted)
            with pytest.raises(KeyboardInterrupt):
                potential(atoms)
        assert state() == within
    assert state() == before
    assert np.array_equal(potential(atoms).forces, expected.forces)


def test_ranks_are_driven_from_within(atoms):
    expected = network()(atoms)
    with together(BUNDLES[0]):
        calculator = network().calculator(backend="ddp:ranks=2", partition="rcb:2", halo="auto")
        try:
            calculator.calculate(atoms)
            forces = calculator.results["forces"]
        finally:
            calculator.close()
    assert np.abs(forces - expected.forces).max() < 1e-4


def test_exported_within(tmp_path):
    exporter = registry().load("exporter", "onnx")()
    exporter.export(network(), Precision.FLOAT32, tmp_path / "outside.onnx")
    with together(BUNDLES[0]):
        exporter.export(network(), Precision.FLOAT32, tmp_path / "within.onnx")
    assert (tmp_path / "within.onnx").read_bytes() == (tmp_path / "outside.onnx").read_bytes()


class Silent(Stage):
    """A layer that has lost its dependence on edges."""

    def __init__(self, layer, how):
        super().__init__()
        self.layer, self.how, self.spec = layer, how, layer.spec

    def forward(self, state, *blocks):
        if self.how == "no_grad":
            with torch.no_grad():
                return self.layer(state, *blocks)
        written = self.layer(state, *blocks)
        return State({name: values.detach() for name, values in written.atoms.items()}, written.edges)


@pytest.mark.parametrize("how", ["no_grad", "detach"])
@pytest.mark.parametrize("halo", ["recompute", "exchange"])
@pytest.mark.parametrize("backend", ["torch", "onnx:threads=1"])
def test_a_graph_that_was_lost_is_an_error_that_names_the_backbone(how, halo, backend, atoms):
    backbone = network().backbone
    backbone.layers[-1] = Silent(backbone.layers[-1], how)
    spec = Spec.parse(backend)
    executor = spec.build(registry().load("executor", spec.name), device="cpu")
    with pytest.raises(BackboneError, match="'schnet' do not depend on the positions"):
        LocalEvaluator(backbone, executor, Precision.FLOAT64, exchange=halo == "exchange").evaluate(
            Structure.from_atoms(atoms)
        )


@pytest.mark.parametrize("differentiable", [True, False])
def test_weights_that_are_trained_hide_no_lost_graph(differentiable):
    backbone = network().backbone
    backbone.layers[-1] = Silent(backbone.layers[-1], "detach")
    graph = chain(backbone, 9, seed=1)
    inputs = lay_out(graph, whole(9, graph.edges, backbone.hops), Form.EDGES, Precision.FLOAT64)
    with pytest.raises(BackboneError, match="do not depend on the positions"):
        energies_and_gradients(backbone, inputs, differentiable=differentiable)


@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_what_has_no_edges_has_no_forces_and_no_error(halo):
    backbone = network().backbone
    backbone.layers[-1] = Silent(backbone.layers[-1], "detach")
    if halo == "exchange":
        backbone = network().backbone
    apart = Atoms("H2O", positions=[[0, 0, 0], [50, 0, 0], [0, 50, 0]])
    evaluator = LocalEvaluator(backbone, TorchExecutor("cpu"), Precision.FLOAT64, exchange=halo == "exchange")
    for atoms in (apart, apart[:1]):
        assert not evaluator.evaluate(Structure.from_atoms(atoms)).forces.any()


class Shift(Stage):
    """Energies by species alone: nothing that it reads has a derivative."""

    spec = StageSpec(hops=0)

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.arange(10, dtype=torch.float64))

    def forward(self, state, *blocks):
        return State({"energies": self.table[state.atoms["species"]]}, {})


class Embed(Stage):
    """Hands the species on beside the features."""

    spec = StageSpec(hops=0)

    def __init__(self, embed):
        super().__init__()
        self.embed = embed

    def forward(self, state, *blocks):
        return State({**self.embed(state, *blocks).atoms, "species": state.atoms["species"]}, {})


@pytest.mark.parametrize("halo", ["recompute", "exchange"])
@pytest.mark.parametrize("backend", ["torch", "onnx:threads=1"])
def test_a_readout_may_look_at_species_alone(halo, backend, atoms, monkeypatch):
    backbone = network().backbone
    backbone.embed, backbone.shift = Embed(backbone.embed), Shift()
    plain = LocalEvaluator(network().backbone, TorchExecutor("cpu"), Precision.FLOAT64)
    expected = plain.evaluate(Structure.from_atoms(atoms))
    monkeypatch.setattr(type(backbone), "readouts", property(lambda self: {0: self.shift, 2: self.readout}))
    spec = Spec.parse(backend)
    executor = spec.build(registry().load("executor", spec.name), device="cpu")
    found = LocalEvaluator(backbone, executor, Precision.FLOAT64, exchange=halo == "exchange").evaluate(
        Structure.from_atoms(atoms)
    )
    np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.energies, expected.energies + atoms.numbers, rtol=0, atol=1e-10)
