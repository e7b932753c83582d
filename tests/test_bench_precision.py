"""``halocline bench --precision`` measures what it says that it measures, and says what ran. No time is judged."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read, write
from told_model import told

import halocline
from halocline.bench.precision.campaign import DEFAULTS, default_policies
from halocline.bench.precision.drift import nve_drift
from halocline.bench.precision.loops import curl
from halocline.bench.precision.measurement import measure_policy
from halocline.bench.precision.plot import pareto_front
from halocline.bench.request import Request
from halocline.bench.structures import disordered_box
from halocline.cli.main import main
from halocline.errors import PrecisionError, UsageError
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.combined import sum_of
from halocline.potential.potential import Potential
from halocline.program import policy as policies
from halocline.program.policy import PrecisionPolicy

WATER, ARGON = "water-revpbe0d3-schnet", "lennard-jones-argon"

#: The relative curl of derivatives: of a model whose forces have kinks at the cutoff, which points on a loop see;
#: and of a smooth one, rounding. Measured: 1.3e-6 in a random box, in either precision, and 1e-12 in float64.
KINKS, SMOOTH = 5e-6, 1e-10


def request(text, model=WATER):
    return Request(
        model=model,
        prune=None,
        backend="torch",
        dtype=text,
        device="cpu",
        atoms=48,
        density=0.1,
        structure=None,
        steps=2,
    )


def measured(text, model=WATER, picoseconds=0.0):
    potential = halocline.load(model)
    atoms = disordered_box(potential.species, 48, 0.1 if model == WATER else 0.02)
    return measure_policy(request(text, model), potential, atoms, picoseconds)


def test_float64_has_no_error_and_ran():
    found = measured("float64")
    assert set(dataclasses.astuple(found.deviation)[:4]) == {0.0}
    assert found.deviation.force_scale > 0.1
    assert {name for shares in found.ran.values() for name in shares} == {"float64"}
    assert found.curl.relative < KINKS


def test_float32_has_the_error_that_is_promised_and_its_curl_is_rounding():
    found = measured("float32")
    assert 0.0 < found.deviation.energy_rms <= found.deviation.energy_max < 1e-6
    assert 0.0 < found.deviation.force_rms <= found.deviation.force_max
    assert found.deviation.force_max < 1e-4 * max(1.0, found.deviation.force_scale)
    assert {name for shares in found.ran.values() for name in shares} == {"float32"}
    assert found.curl.relative < KINKS
    assert (found.steps, found.warm_up) == (2, 3)
    assert min(found.time, found.ratio, found.threads) > 0


def test_half_precision_shows_in_what_ran_in_errors_and_in_the_curl():
    found = measured("float32:layers=bfloat16")
    assert set(found.ran["embed"]) == set(found.ran["readouts.4"]) == {"float32"}
    for layer in range(4):
        assert set(found.ran[f"layers.{layer}"]) == {"bfloat16", "float32"}  # the latter are sums
        assert found.ran[f"layers.{layer}"]["bfloat16"] > 0.9
    assert found.deviation.force_rms > 1e-3 * found.deviation.force_scale
    assert found.curl.relative > 10 * KINKS


@pytest.mark.parametrize(
    "text", ["float32:readouts=bfloat16", "float64:readouts.1=float32", "float32:layers.0=float64"]
)
def test_state_that_several_stages_read_is_no_fault(text):
    """Readouts of MACE read what the next layer reads, too."""
    backbone = build_backbone("mace", registry().load("backbone", "mace").example_config(), seed=0)
    model = Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})
    found = measure_policy(request(text), model, read("examples/water.extxyz")[:12], 0.0)
    assert 0.0 < found.deviation.force_rms < 0.1 * found.deviation.force_scale


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("float32:radial=bfloat16", "_cast_around"),
        ("float32:layers.1=float64", "_guard_stage"),
        ("float32:sums=float64", "_guard_stage"),
    ],
)
def test_a_policy_that_does_not_run_is_an_error(text, broken, monkeypatch):
    """Weights and hooks are left as they are: what a run that says float32 and computes in float64 looks like."""
    if hasattr(policies, broken):
        monkeypatch.setattr(policies, broken, lambda *arguments: None)
    else:
        monkeypatch.setattr(PrecisionPolicy, broken, lambda *arguments: None)
    monkeypatch.setattr(PrecisionPolicy, "_weights", lambda self, backbone: {})
    with pytest.raises(PrecisionError, match="did not run"):
        measured(text)


def test_a_backend_that_shows_nothing_has_no_numbers():
    if not registry().load("executor", "onnx").diagnose().usable:
        pytest.skip("ONNX Runtime is not installed")
    potential = halocline.load(ARGON)
    asked = dataclasses.replace(request("float32", ARGON), backend="onnx")
    with pytest.raises(UsageError, match="flat edges"):
        measure_policy(asked, potential, disordered_box(("Ar",), 20, 0.02), 0.0)


def test_sums_and_committees_are_refused():
    argon = halocline.load(ARGON)
    both = sum_of(argon, argon)
    with pytest.raises(UsageError, match="single models"):
        measure_policy(request("float32", ARGON), both, disordered_box(("Ar",), 20, 0.02), 0.0)


def test_defaults_are_those_that_the_model_has():
    assert default_policies(halocline.load(WATER).backbone) == list(DEFAULTS)
    argon = default_policies(halocline.load(ARGON).backbone)
    assert {"float64", "float32", "float32:layers=bfloat16"} < set(argon)
    assert not [text for text in argon if "radial" in text]


def linear_forces(matrix):
    return lambda atoms: (matrix @ atoms.positions.ravel()).reshape(-1, 3)


@pytest.mark.parametrize("seed", range(3))
def test_curl_is_the_antisymmetric_part_of_the_jacobian(seed):
    rng = np.random.default_rng(seed)
    matrix, atoms = rng.normal(size=(30, 30)), Atoms("Ar10", positions=rng.normal(size=(10, 3)))
    symmetric, antisymmetric = matrix + matrix.T, matrix - matrix.T
    assert curl(linear_forces(symmetric), atoms).relative < 1e-12
    whole, part = (curl(linear_forces(m), atoms, seed=seed).work for m in (2 * matrix, antisymmetric))
    assert part > 0
    np.testing.assert_allclose(whole, part, rtol=1e-9)


def test_forces_that_only_turn_have_a_curl_of_one():
    """A rotation by a right angle in every loop's plane at once: each force points along its path."""
    atoms = Atoms("Ar", positions=np.zeros((1, 3)))
    found = [
        curl(lambda each: np.cross((0, 0, 1), each.positions), atoms, seed=seed).relative for seed in range(40)
    ]
    assert max(found) <= 1.0 + 1e-12
    assert max(found) > 0.9


def test_curl_of_smooth_derivatives_is_rounding():
    backbone = build_backbone("mace", registry().load("backbone", "mace").example_config(), seed=0)
    model = Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})
    atoms = read("examples/water.extxyz")[:30]
    assert curl(lambda each: model(each, dtype="float64").forces, atoms).relative < SMOOTH


def test_direct_forces_have_a_curl_and_derivatives_have_none():
    rng = np.random.default_rng(0)
    atoms = Atoms("OHHOHH", positions=rng.uniform(0, 3, (6, 3)))
    direct, derived = told(told=[], says=["forces"]), told(told=[], says=[])
    assert curl(lambda each: direct(each, dtype="float64").forces, atoms).relative > 1e-2
    assert curl(lambda each: derived(each, dtype="float64").forces, atoms).relative < 1e-6


class Springs(Calculator):
    """Springs to where atoms started, beside a force along the velocity that no energy knows of."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, atoms, turning):
        super().__init__()
        self.start, self.turning = atoms.positions.copy(), turning

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        left = self.atoms.positions - self.start
        turned = self.turning * np.cross((0.0, 0.0, 1.0), left)
        self.results = {"energy": float((left**2).sum()), "forces": turned - 2.0 * left}


def test_energy_is_kept_by_derivatives_and_gained_by_forces_that_turn():
    atoms = Atoms("Ar32", positions=bulk("Ar", "fcc", 5.3, cubic=True).repeat(2).positions)
    kept, gained = (nve_drift(atoms, Springs(atoms, turning), 0.5) for turning in (0.0, 0.2))
    assert abs(kept.drift) < 0.05
    assert kept.fluctuation < 1.0
    assert abs(gained.drift) > 20 * abs(kept.drift) + 1.0
    assert kept.picoseconds == pytest.approx(0.5)
    assert 50 < kept.temperature < 400


def test_no_point_of_the_front_is_beaten():
    rng = np.random.default_rng(0)
    points = [tuple(point) for point in rng.uniform(size=(50, 2))]
    front = pareto_front(points)
    for cost, error in points:
        assert any(a <= cost and b <= error for a, b in front)
    assert front == sorted(front)
    assert [error for _, error in front] == sorted((error for _, error in front), reverse=True)


@pytest.mark.slow
def test_command_prints_writes_and_draws(tmp_path, capsys):
    write(tmp_path / "argon.xyz", bulk("Ar", "fcc", 5.3, cubic=True).repeat(2), format="extxyz")
    words = ["bench", "--precision", "float64", "float32", "float32:sums=float64", "-m", ARGON]
    words += ["--structure", str(tmp_path / "argon.xyz"), "--steps", "2", "--drift", "0.02"]
    assert main([*words, "--json", str(tmp_path / "p.json"), "--plot", str(tmp_path / "p.png")]) == 0
    printed = capsys.readouterr().out
    assert "sums=float64" in printed
    assert "what ran, derivatives included" in printed
    assert "3 steps of warm-up, 2 timed" in printed
    report = json.loads((tmp_path / "p.json").read_text())
    assert [row["policy"] for row in report["rows"]] == ["float64", "float32", "float32:sums=float64"]
    assert report["machine"]["processor"]
    for row in report["rows"]:
        assert row["measurement"]["drift"]["picoseconds"] == pytest.approx(0.02)
        assert row["measurement"]["memory"] > 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--precision", "float16"], "regions may"),
        (["--precision", "float32:layrs=bfloat16"], "did you mean"),
        (["--precision", "--dtype", "float64"], "leave out --dtype"),
        (["--precision", "--atoms", "10,20"], "one number of --atoms"),
        (["--precision", "--backend", "torch", "--backend", "onnx"], "one backend"),
        (["--precision", "--drift", "-1"], "--drift must be"),
        (["--precision", "--plot", "trade.pdf"], "end in .png"),
        (["--precision", "--json", "none/report.json"], "does not exist"),
        (["--drift", "1"], "belong to --precision"),
        (["--plot", "trade.png"], "belong to --precision"),
    ],
)
def test_wrong_call_is_one_sentence_before_any_work(words, hint, capsys):
    assert main(["bench", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert hint in printed.err
