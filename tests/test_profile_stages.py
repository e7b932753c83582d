"""`halocline profile MODEL STRUCTURE` attributes every operator once, counts exactly, and changes no number.

No time is judged.
"""

import itertools
import json

import matplotlib.image
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import write
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import halocline
from halocline.cli.main import main
from halocline.context import evaluation_context
from halocline.errors import UsageError
from halocline.native.compiler import find_compiler
from halocline.plugins.fused import FEWEST_CHANNELS
from halocline.potential.potential import Potential
from halocline.profile import Growth, growths, plot_profile, profile_evaluation
from halocline.profile.doubts import compilations, of_dtypes, of_times
from halocline.profile.evaluation import WARM_UP
from halocline.profile.operators import Kind, bytes_of, flops_of
from halocline.profile.origin import Origin
from halocline.profile.roof import Roof
from halocline.profile.rows import BETWEEN, PROGRAM, STRUCTURE, SURROUNDINGS, WHOLE, Place, Row, operator_rows
from halocline.profile.watch import Inventory, Operator
from halocline.shares import Shares

#: As it is outside of these tests.
measure_roof = Roof.measure.__func__

BACKBONES = ("schnet", "m3gnet", "mace", "lennard-jones")
PLACES = {
    "schnet": {"radial", "messages", "sum", "update"},
    "m3gnet": {"radial", "angular", "messages", "sum", "product", "update"},
    "mace": {"radial", "angular", "messages", "sum", "product", "update"},
    "lennard-jones": {"radial", "messages", "sum"},
}


#: Channels from which the blocks of M3GNet run in compiled operators.
WIDE = {"features": FEWEST_CHANNELS, "units": FEWEST_CHANNELS}


def small(name, **changes):
    """A potential with the example's config, and a structure of its species."""
    from halocline.plugin import registry

    kind = registry().load("backbone", name)
    backbone = kind.from_config(kind.example_config() | changes)
    atoms = bulk("Cu", "fcc", a=4.4, cubic=True) * 2
    atoms.symbols = np.resize(backbone.species, len(atoms))
    atoms.rattle(0.1, seed=0)
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {}), atoms


def evaluator_of(potential, **options):
    given = {"backend": "torch", "dtype": "float32", "device": "cpu", "partition": "none", "halo": "auto"}
    return potential.evaluator(**given | options)


def inventory_of(potential, atoms, **options):
    """Operators of one evaluation that was prepared before."""
    evaluator, shares = evaluator_of(potential, **options), Shares()
    potential.evaluate_with(evaluator, atoms)
    watch = Inventory(shares)
    with evaluation_context(), shares.counted(), watch:
        potential.evaluate_with(evaluator, atoms)
    evaluator.close()
    return watch.operators


def profile_of(potential, atoms, repeats=2, **options):
    evaluator = evaluator_of(potential, **options)
    dtype = getattr(torch, options.get("dtype", "float32"))
    found = profile_evaluation(potential, evaluator, atoms, dtype=dtype, repeats=repeats, warm_up=1)
    evaluator.close()
    return found


@pytest.fixture(autouse=True)
def _quick_roof(monkeypatch):
    """A roof that takes no time: what it says is tested by itself."""
    monkeypatch.setattr(
        Roof, "measure", classmethod(lambda cls, device, dtypes: Roof(dict.fromkeys(dtypes, 1e12), 1e10, 1))
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_every_operator_has_its_stage_and_its_work(name):
    potential, atoms = small(name)
    operators = inventory_of(potential, atoms)
    layers = [each for each in operators if each.origin.stage.startswith("layers.")]
    assert {str(each.origin.work) for each in layers} == PLACES[name]
    stages = {stage for stage, _ in potential.backbone.stages()}
    assert {each.origin.stage for each in operators} - {""} <= stages
    # Whatever is outside of stages cuts inputs and adds outputs up.
    outside = [each for each in operators if not each.origin.stage]
    assert sum(each.flops or 0.0 for each in outside) <= 2 * len(atoms)
    assert {each.origin.derivative for each in layers} == {True, False}
    assert not any(each.flops is None for each in operators)


@pytest.mark.parametrize("name", BACKBONES)
def test_products_of_matrices_are_counted_as_torch_counts_them(name):
    potential, atoms = small(name)
    operators = inventory_of(potential, atoms)
    evaluator = evaluator_of(potential)
    potential.evaluate_with(evaluator, atoms)
    with evaluation_context(), FlopCounterMode(display=False) as counter:
        potential.evaluate_with(evaluator, atoms)
    matrix = sum(each.flops for each in operators if each.kind is Kind.MATRIX)
    assert matrix == counter.get_total_flops()


def test_flops_of_schnet_are_those_of_its_equations():
    potential, atoms = small("schnet")
    config = potential.backbone.config
    operators = inventory_of(potential, atoms)
    channels, gaussians, layers, count = config["features"], config["gaussians"], config["layers"], len(atoms)
    pairs = next(each.shape[0] for each in operators if each.origin.work == "radial" and len(each.shape) == 2)

    def matrix(work, derivative, stages="layers."):
        return sum(
            each.flops
            for each in operators
            if each.kind is Kind.MATRIX
            and each.origin.stage.startswith(stages)
            and (each.origin.work, each.origin.derivative) == (work, derivative)
        )

    filters = 2 * pairs * (gaussians * channels + channels * channels)
    assert matrix("radial", derivative=False) == layers * filters
    assert matrix("radial", derivative=True) == layers * filters
    assert matrix("update", derivative=False) == layers * 3 * 2 * count * channels**2
    # The features of the first layer depend on no position.
    assert matrix("update", derivative=True) == (3 * layers - 1) * 2 * count * channels**2
    hidden = 2 * count * (channels * (channels // 2) + channels // 2)
    assert matrix("readout", False, "readouts.") == matrix("readout", True, "readouts.") == hidden


def test_flops_of_mace_are_those_of_its_equations():
    potential, atoms = small("mace")
    backbone, operators = potential.backbone, inventory_of(potential, atoms)
    layer, config = backbone.layers[0], backbone.config
    radial = [each for each in operators if each.origin.stage == "layers.0" and each.origin.work == "radial"]
    pairs = next(each.shape[0] for each in radial if each.kind is Kind.MATRIX)
    sizes = [config["bessels"], *config["radial_units"], len(layer.product.paths) * config["channels"]]
    network = 2 * pairs * sum(inputs * outputs for inputs, outputs in itertools.pairwise(sizes))
    for derivative in (False, True):
        own = [each for each in radial if each.kind is Kind.MATRIX and each.origin.derivative is derivative]
        assert sum(each.flops for each in own) == network


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
def test_sums_of_m3gnet_that_are_compiled_are_messages_and_products():
    potential, atoms = small("m3gnet", **WIDE)
    operators = inventory_of(potential, atoms)
    compiled = [each for each in operators if each.name.startswith("halocline.")]
    assert sorted((each.name, each.origin) for each in compiled) == sorted(
        (f"halocline.{name}{'_backward' * derivative}.default", Origin(f"layers.{layer}", work, derivative))
        for name, work in (("edge_half", "messages"), ("three_body_sums", "product"))
        for layer in range(len(potential.backbone.layers))
        for derivative in (False, True)
    )
    layers = [each for each in operators if each.origin.stage.startswith("layers.")]
    assert {str(each.origin.work) for each in layers} == {"radial", "messages", "product", "update"}
    assert all(each.kind is Kind.MATRIX and each.flops for each in compiled)
    # Nothing else adds up over edges: all of the messages' products are in there.
    plain = inventory_of(potential, atoms, backend="torch:kernels=off")
    of_messages = [
        sum(each.flops for each in found if each.origin.work == "messages" and each.kind is Kind.MATRIX)
        for found in (operators, plain)
    ]
    assert 1.0 <= of_messages[0] / of_messages[1] < 1.5


def test_derivatives_follow_the_operator_that_they_are_of():
    potential, atoms = small("schnet")
    operators = inventory_of(potential, atoms)
    gathers = [each for each in operators if each.name == "aten.index_add.default" and each.origin.derivative]
    # Of gathered features; distances of pairs and the vectors themselves are gathered, too.
    assert {str(each.origin.work) for each in gathers} == {"messages", "radial"}
    waves = {each.name: each.origin for each in operators if each.name in ("aten.cos.default", "aten.sin.default")}
    assert waves["aten.cos.default"][1:] == ("radial", False)  # of the envelope
    assert waves["aten.sin.default"][1:] == ("radial", True)


def test_plugin_without_declarations_is_shown_by_kinds_of_operator(monkeypatch):
    potential, atoms = small("mace")
    monkeypatch.setattr(type(potential.backbone.layers[0]), "profiled_as", {})
    found = profile_of(potential, atoms)
    works = {row.place.work for row in found.rows if row.place.stage == "layers.0"}
    assert works >= {"messages", "sum", "radial", str(Kind.MATRIX), str(Kind.ELEMENTWISE)}
    assert "angular" not in works


@pytest.mark.parametrize("options", [{}, {"partition": "rcb:2"}, {"partition": "rcb:2", "halo": "exchange"}])
def test_rows_add_up_to_operators_and_sections(options):
    potential, atoms = small("schnet")
    found = profile_of(potential, atoms, **options)
    operators = inventory_of(potential, atoms, **options)
    inside = [row for row in found.rows if row.operators]
    assert sum(row.operators for row in inside) == len(operators)
    assert sum(sum(row.flops.values()) for row in inside) == pytest.approx(sum(each.flops for each in operators))
    assert sum(row.bytes for row in inside) == pytest.approx(sum(each.bytes for each in operators))
    assert len({row.place for row in found.rows}) == len(found.rows)
    around = {row.place.work for row in found.rows if row.place.stage == STRUCTURE}
    assert around == {*SURROUNDINGS, "checks"}
    assert found.rows[0].place == Place(STRUCTURE, "neighbours")
    assert all(len(row.seconds) == len(found.seconds) == 2 for row in found.rows)


def test_operators_out_of_sight_are_one_row():
    pytest.importorskip("onnxruntime")
    potential, atoms = small("lennard-jones")
    found = profile_of(potential, atoms, backend="onnx")
    assert {row.place.stage for row in found.rows} == {STRUCTURE, PROGRAM}
    (whole,) = (row for row in found.rows if row.place.stage == PROGRAM)
    assert (whole.place.work, whole.operators, whole.roof_share(found.roof)) == (WHOLE, 0, None)
    assert found.roof is None
    assert any("cannot be seen" in doubt for doubt in found.doubts)


def test_model_in_other_processes_is_refused(monkeypatch):
    potential, atoms = small("lennard-jones")
    evaluator = evaluator_of(potential)
    monkeypatch.setattr(evaluator, "evaluate", lambda structure: result)
    result = potential.evaluator("torch", "float32", "cpu", "none", "auto").evaluate(
        potential.prepare(atoms).structure
    )
    with pytest.raises(UsageError, match="other processes"):
        profile_evaluation(potential, evaluator, atoms, dtype=torch.float32, repeats=1, warm_up=1)


def test_members_of_a_committee_are_told_apart():
    potential, atoms = small("lennard-jones")
    both = halocline.committee_of(potential, potential)
    stages = {row.place.stage for row in profile_of(both, atoms).rows}
    assert stages == {STRUCTURE, PROGRAM, "embed", "layers.0", "embed (2)", "layers.0 (2)"}


def test_convolution_by_a_table_is_messages():
    potential = halocline.load("water-revpbe0d3-schnet")
    atoms = bulk("H", "fcc", a=4.4, cubic=True) * 2
    atoms.symbols[::3] = "O"
    works = {row.place.work for row in profile_of(potential, atoms, compress=True).rows}
    assert "messages" in works
    # The lengths of edges are still its own.
    assert {"sum"}.isdisjoint(works)


def test_neighbours_are_searched_in_every_evaluation():
    potential, atoms = small("schnet")
    searches = Shares()
    with searches.counted():
        profile_of(potential, atoms, repeats=3)
    # The profile counts its own; what is left to others are the plain evaluations and the first ones.
    assert searches.calls["search"] >= 3
    assert searches.calls["search"] == searches.calls["network"]


def test_profile_changes_no_result():
    potential, atoms = small("mace")
    before, positions = potential(atoms), atoms.positions.copy()
    profile_of(potential, atoms)
    after = potential(atoms)
    assert np.array_equal(before.forces, after.forces)
    assert np.array_equal(atoms.positions, positions)


def test_constant_of_another_dtype_is_told():
    potential, atoms = small("schnet")
    assert not any("asked for" in doubt for doubt in profile_of(potential, atoms).doubts)
    evaluator = evaluator_of(potential, dtype="float64")
    found = profile_evaluation(potential, evaluator, atoms, dtype=torch.float32, repeats=1, warm_up=1)
    told = [doubt for doubt in found.doubts if "though float32 was asked for" in doubt]
    assert len(told) == len(list(potential.backbone.stages()))
    row = Row(Place("layers.0", "sum"), (1.0,), 2, dtypes={torch.float32: 30, torch.float64: 10})
    assert list(of_dtypes([row], torch.float32)) == [
        "layers.0 computes 25 % of its elements in float64, though float32 was asked for."
    ]


def test_times_that_cannot_be_trusted_are_told():
    steady = [1.0, 1.01, 1.02, 0.99]
    assert list(of_times(steady, steady, 1.0)) == []
    assert "add up" in "".join(of_times(steady, steady, 0.7))
    assert "other work" in "".join(of_times(steady, [0.3] * 4, 1.0))
    assert "times the median" in "".join(of_times([*steady, 9.0], [1.0] * 5, 1.0))
    assert "spreads" in "".join(of_times([1.0, 2.0, 3.0, 4.0], [4.0] * 4, 1.0))


@pytest.mark.slow  # loads the compiler
def test_compilation_in_a_timed_evaluation_is_told():
    with compilations() as nothing:
        torch.ones(3) * 2
    assert nothing == []
    compiled = torch.compile(lambda x: x * 2 + 1, backend="eager")
    compiled(torch.ones(2))
    torch._dynamo.reset()
    with compilations() as found:
        compiled(torch.ones(5))
    assert found == ["torch.compile compiled 1 graphs."]


def costs(function, *tensors):
    """Floating-point operations and bytes of all operators of a function."""

    class Costs(TorchDispatchMode):
        flops, bytes = 0.0, 0.0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            Costs.flops += flops_of(func, args, kwargs or {}, result)
            Costs.bytes += bytes_of(func, args, kwargs or {}, result)
            return result

    with Costs():
        function(*tensors)
    return Costs.flops, Costs.bytes


@pytest.mark.parametrize(
    ("function", "shapes", "flops", "floats"),
    [
        (torch.matmul, [(5, 7), (7, 3)], 2 * 5 * 7 * 3, 35 + 21 + 15),
        (torch.bmm, [(2, 5, 7), (2, 7, 3)], 4 * 5 * 7 * 3, 70 + 42 + 30),
        (torch.add, [(5, 7), (5, 7)], 35, 3 * 35),
        (torch.mul, [(5, 7), (1, 7)], 35, 35 + 7 + 35),
        (lambda x: x.expand(9, 7).exp(), [(1, 7)], 63, 7 + 63),
        (lambda x: x.sum(1), [(5, 7)], 35, 35 + 5),
        (lambda x: x.T.reshape(7, 5)[2:], [(5, 7)], 0, 0),
        (lambda x: x.clone(), [(5, 7)], 0, 70),
        (lambda x: x.new_zeros(4), [(5, 7)], 0, 4),
        (lambda x: torch.cat([x, x]), [(5, 7)], 0, 140),
    ],
)
def test_costs_of_operators_by_hand(function, shapes, flops, floats):
    assert costs(function, *map(torch.ones, shapes)) == (flops, 4 * floats)


def test_costs_of_gathers_and_scatters_by_hand():
    rows = torch.tensor([0, 2, 2])  # three rows of 7 floats, and their numbers
    values = torch.ones(50, 7)
    assert costs(lambda: values.index_select(0, rows)) == (0, 4 * (21 + 21) + 8 * 3)
    assert costs(lambda: values.index_add(0, rows, torch.ones(3, 7))) == (21, 4 * (350 + 21 + 350 + 21) + 8 * 3)
    # A small source is read once, however often its rows are gathered.
    assert costs(lambda: values[:1].index_select(0, torch.zeros(9, dtype=torch.int64)))[1] == 4 * (7 + 63) + 8 * 18


def test_roof_is_whichever_takes_longer():
    roof = Roof({torch.float32: 100.0, torch.float64: 50.0}, 10.0, 1)
    assert roof.seconds({torch.float32: 200.0, torch.float64: 50.0}, 20.0) == 3.0
    assert roof.seconds({torch.float32: 200.0}, 70.0) == 7.0
    row = Row(Place("layers.0", "sum"), (10.0, 14.0, 90.0), 1, {torch.float32: 200.0}, 70.0)
    assert row.roof_share(roof) == 0.5
    assert Row(Place("layers.0", "sum"), (14.0,), 1, uncounted=("own.op",)).roof_share(roof) is None


def test_roof_is_measured_once_and_on_the_threads_in_use(monkeypatch):
    from halocline.profile import roof

    monkeypatch.setattr(roof, "_ROWS", {"cpu": 32})
    monkeypatch.setattr(roof, "_ELEMENTS", {"cpu": 1024})
    for each in (roof._peak, roof._bandwidth):
        each.cache_clear()
    try:
        found = measure_roof(Roof, "cpu", frozenset({torch.float32, torch.bfloat16}))
        assert found.named.keys() == {"float32", "bfloat16"}
        assert min(*found.flops.values(), found.bandwidth) > 0.0
        assert found.threads == torch.get_num_threads()
        assert measure_roof(Roof, "cpu", frozenset({torch.float32})).bandwidth == found.bandwidth
        assert roof._bandwidth.cache_info().misses == 1
    finally:  # what others measure is that of large vectors
        for each in (roof._peak, roof._bandwidth):
            each.cache_clear()


def test_rows_keep_the_order_of_the_work():
    def operator(stage, work, derivative=False):
        return Operator("aten.x", Origin(stage, work, derivative), Kind.OTHER, (2,), torch.float32, 2, 1.0, 8.0)

    ran = [operator("embed", "a"), operator("x", "b"), operator("x", "c"), operator("x", "c", True)]
    ran += [operator("x", "b", True), operator("embed", "a")]
    rows = operator_rows(ran, [[1.0] * 6, [2.0] * 6])
    assert [(row.place.stage, row.place.label) for row in rows] == [
        ("embed", "a"),
        ("x", "b"),
        ("x", "∂ b"),
        ("x", "c"),
        ("x", "∂ c"),
    ]
    assert rows[0].seconds == (2.0, 4.0)
    assert rows[0].flops == {torch.float32: 2.0}


def test_exponents_of_growth():
    quadratic = Growth(Place("x", "y"), (10, 100, 1000), (1.0, 100.0, 10_000.0))
    assert quadratic.exponent == pytest.approx(2.0)
    assert quadratic.per_atom == pytest.approx((0.1, 1.0, 10.0))
    assert Growth(Place("x", "y"), (10,), (1.0,)).exponent is None
    assert Growth(Place("x", BETWEEN), (10, 100), (1.0, -1.0)).exponent is None


def test_costs_grow_with_the_structure():
    potential, atoms = small("schnet")
    profiles = [profile_of(potential, atoms * (count, 1, 1), repeats=1) for count in (1, 2, 4)]
    assert [profile.atoms for profile in profiles] == [32, 64, 128]
    grown = {each.place: each for each in growths(profiles)}
    assert grown[Place("", "")].atoms == (32, 64, 128)
    for place in grown:
        rows = [next((row for row in each.rows if row.place == place), None) for each in profiles]
        if rows[0] is not None and rows[0].flops and place.stage.startswith("layers."):
            flops = [sum(row.flops.values()) for row in rows]
            # Every atom has the same surroundings: twice the atoms, twice the work.
            assert flops[1:] == [2 * flops[0], 4 * flops[0]]


def test_warm_up_is_no_single_call():
    assert WARM_UP >= 2


@pytest.fixture
def argon(tmp_path):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * 2
    atoms.rattle(0.1, seed=0)
    write(tmp_path / "argon.extxyz", atoms)
    return tmp_path / "argon.extxyz"


def test_report_is_complete(argon, capsys, tmp_path):
    picture = tmp_path / "argon.png"
    words = ["profile", "lennard-jones-argon", str(argon), "--sizes", "32,64", "--repeats", "2", "--json"]
    assert main([*words, "--plot", str(picture)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"machine", "versions", "threads", "model", "evaluation", "replaced", "profiles", "growth"} <= set(
        report
    )
    assert [each["atoms"] for each in report["profiles"]] == [32, 64]
    for profile in report["profiles"]:
        assert profile["repeats"] == 2
        assert profile["warm_up"] == WARM_UP
        assert profile["roof"]["flops"].keys() == {"float32"}
        assert {"coverage", "total", "overhead", "spread", "cpu_ms", "threads", "doubts"} <= set(profile)
        assert {row["work"] for row in profile["rows"]} >= {"neighbours", "embedding", "radial", "messages", "sum"}
        assert sum(row["share"] for row in profile["rows"]) == pytest.approx(profile["total"], rel=0.5)
    assert report["growth"][-1]["stage"] == ""
    assert matplotlib.image.imread(picture).ndim == 3


def test_table_fits_on_a_page(argon, capsys):
    assert main(["profile", "lennard-jones-argon", str(argon), "--repeats", "1", "--sizes", "32,64"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    for word in ("∂ radial", "neighbours", "between operators", "to warm up", "threads", "float32", "GFLOP/s"):
        assert word in out
    assert "exponent" in out


def test_picture_of_one_size(tmp_path):
    potential, atoms = small("mace")
    plot_profile([profile_of(potential, atoms)], tmp_path / "mace.png", title="mace")
    assert matplotlib.image.imread(tmp_path / "mace.png").shape[1] == 9 * 150


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "a model and a structure"),
        (["a", "b", "c"], "a model and a structure"),
        (["lennard-jones-argon", "FILE", "--steps", "3"], "--steps"),
        (["lennard-jones-argon", "FILE", "-m", "lennard-jones-argon"], "twice"),
        (["lennard-jones-argon", "FILE", "--repeats", "0"], "--repeats"),
        (["lennard-jones-argon", "FILE", "--sizes", "10,-3"], "--sizes"),
        (["lennard-jones-argon", "FILE", "--plot", "picture.pdf"], ".png"),
        (["--md", "FILE", "--sizes", "10"], "--sizes"),
        (["--md", "FILE", "lennard-jones-argon", "FILE"], "--md"),
    ],
)
def test_calls_that_mean_nothing_are_refused(argon, capsys, words, complaint):
    assert main(["profile", *(str(argon) if word == "FILE" else word for word in words)]) == 2
    assert complaint in capsys.readouterr().err


def test_molecule_has_no_sizes(tmp_path, capsys):
    write(tmp_path / "argon.extxyz", Atoms("Ar2", [(0, 0, 0), (0, 0, 3.8)]))
    words = ["profile", "lennard-jones-argon", str(tmp_path / "argon.extxyz"), "--repeats", "1"]
    assert main([*words, "--sizes", "100"]) == 1
    assert "argon.extxyz" in capsys.readouterr().err
    assert main(words) == 0
