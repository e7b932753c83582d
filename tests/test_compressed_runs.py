"""Compressed models do all that plain ones do: dynamics and its restarts, ranks, streams, relaxations, exports."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import units
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from kinds.operator import OperatorModel
from test_kinds import onnx

import halocline
from halocline.backends.ipu.exporter import IpuExporter
from halocline.backends.onnx.exporter import OnnxExporter
from halocline.backends.torch.exporter import AotExporter
from halocline.cli.main import main
from halocline.doctor.kernels import examine
from halocline.errors import KernelError
from halocline.model.build import build_backbone, build_with_seed
from halocline.plugins.kernels.tables import Tables
from halocline.potential.potential import Potential
from halocline.program import Precision

WATER, TABLES, FUSED = "water-revpbe0d3-schnet", "halocline/tables", "halocline/schnet"

#: Of forces in float64, in other parts or in a batch: eV/Å, where the largest are about 5.
AGREEMENT = 1e-10

#: eV per atom and ps, by which drifts of the energy with and without tables may differ. Measured: 3e-8.
DRIFT = 5e-7


@pytest.fixture(scope="module")
def cluster():
    """Eight molecules of water, in nothing."""
    atoms = read("examples/water.extxyz")
    nearest = np.argsort(atoms.get_distances(0, range(0, len(atoms), 3), mic=True))[:8]
    places = [3 * molecule + atom for molecule in sorted(nearest) for atom in range(3)]
    found = atoms[places]
    found.positions = atoms.get_distances(0, places, mic=True, vector=True)
    found.set_pbc(False)
    return found


def drift(atoms, compress):
    """Slope of the energy, eV per atom and ps, over a tenth of a ps."""
    moving = atoms.copy()
    spread = np.sqrt(300.0 * units.kB * moving.get_masses())[:, None]
    moving.set_momenta(spread * np.random.default_rng(0).normal(size=(len(moving), 3)))
    moving.calc = halocline.load(WATER, prune=1).calculator(device="cpu", dtype="float64", compress=compress)
    dynamics, energies = VelocityVerlet(moving, 0.5 * units.fs), []
    for _ in range(200):
        dynamics.run(1)
        energies.append(moving.get_total_energy() / len(moving))
    return np.polyfit(0.0005 * np.arange(200), energies, 1)[0]


@pytest.mark.slow
def test_tables_do_not_make_energy_drift(cluster):
    plain, compressed = drift(cluster, False), drift(cluster, True)
    assert plain != compressed
    assert abs(plain - compressed) < DRIFT


@pytest.fixture
def run(tmp_path, capsys, cluster, monkeypatch):
    """Call ``halocline md`` on the cluster; returns its exit status and what it says."""
    write(tmp_path / "start.extxyz", cluster)
    monkeypatch.chdir(tmp_path)

    def run(command, *options):
        status = main([command, "start.extxyz", "-m", WATER, "--prune", "1", "--device", "cpu", *options])
        return status, capsys.readouterr().err

    return run


def test_dynamics_go_on_to_the_bit_and_only_as_they_began(run):
    options = ("--ensemble", "nvt", "--interval", "1", "--checkpoint-interval", "2")
    assert run("md", *options, "--compress", "--steps", "6", "-o", "whole")[0] == 0
    status, said = run("md", *options, "--compress", "--steps", "4", "-o", "parts")
    assert status == 0
    assert f"The kernel {TABLES} (version " in said
    status, said = run("md", *options, "--steps", "6", "-o", "parts", "--resume")
    assert status != 0
    assert "compress" in said
    assert run("md", *options, "--compress", "--steps", "6", "-o", "parts", "--resume")[0] == 0
    whole, parts = (read(f"{name}.extxyz", index=":") for name in ("whole", "parts"))
    assert len(whole) == len(parts) == 7
    for a, b in zip(whole, parts, strict=True):
        assert np.array_equal(a.positions, b.positions)
        assert np.array_equal(a.get_momenta(), b.get_momenta())


def test_dynamics_are_not_gone_on_with_by_another_version_of_a_kernel(run, monkeypatch):
    assert run("md", "--compress", "--steps", "2")[0] == 0
    before = Tables.version
    monkeypatch.setattr(Tables, "version", before + 1)
    status, said = run("md", "--compress", "--steps", "4", "--resume")
    assert status != 0
    assert f"kernel {TABLES} was {before}, now {before + 1}" in said


def test_results_are_gone_on_with_as_they_began(run):
    assert run("run", "--compress", "-o", "results.csv")[0] == 0
    status, said = run("run", "-o", "results.csv", "--resume")
    assert status != 0
    assert "compress" in said


def test_relaxations_end_where_they_end_without_tables(run):
    for name, options in (("plain", ()), ("tables", ("--compress",))):
        assert run("relax", *options, "--fmax", "0.1", "--max-steps", "20", "-o", f"{name}.extxyz")[0] in (0, 1)
    plain, compressed = (read(f"{name}.extxyz") for name in ("plain", "tables"))
    assert np.abs(plain.positions - compressed.positions).max() < 1e-2
    assert not np.array_equal(plain.positions, compressed.positions)


@pytest.mark.parametrize("halo", ["recompute", "exchange"])
def test_ranks_compress_and_say_so(halo, cluster):
    options = {"device": "cpu", "dtype": "float64", "compress": True}
    potential = halocline.load(WATER, prune=1)
    expected = potential(cluster, **options)
    evaluator = potential.evaluator(
        "ddp:ranks=2,oversubscribe=true", "float64", "cpu", "none", halo, compress=True
    )
    try:
        found = potential.evaluate_with(evaluator, cluster)
        replaced = [(each.stage, each.kernel) for each in evaluator.replaced]
        assert replaced == [("layers.0", TABLES), ("layers.0", FUSED), ("readouts.1", FUSED)]
    finally:
        evaluator.close()
    assert np.abs(found.forces - expected.forces).max() < AGREEMENT


def test_streams_are_compressed(cluster):
    options = {"device": "cpu", "dtype": "float64", "compress": True}
    potential = halocline.load(WATER, prune=1)
    frames = [cluster, cluster[:12], cluster[:3]]
    for found, atoms in zip(potential.map(frames, **options), frames, strict=True):
        assert np.abs(found.forces - potential(atoms, **options).forces).max() < AGREEMENT


def small():
    backbone = build_backbone("schnet", {"species": ["H", "O"], "features": 8, "gaussians": 9, "layers": 2})
    return Potential(backbone, dict.fromkeys(backbone.species, 0.0), {})


@pytest.mark.parametrize(
    ("exporter", "suffix"),
    [
        (OnnxExporter, ".onnx"),
        (lambda: IpuExporter(atoms=24, neighbours=24), ".ipu.zip"),
        pytest.param(AotExporter, ".pt2", marks=[pytest.mark.slow, pytest.mark.exhaustive]),
    ],
    ids=["onnx", "ipu", "aot"],
)
def test_exports_are_compressed_and_say_so(exporter, suffix, tmp_path):
    """The exporters themselves hold what they wrote against the program that they were given."""
    onnx()
    plain, tables = (
        exporter().export(small(), Precision.FLOAT32, tmp_path / f"{compress}{suffix}", compress=compress)
        for compress in (False, True)
    )
    assert f"kernel {TABLES}" not in plain.versions
    assert tables.versions[f"kernel {TABLES}"]
    assert tables.weights != plain.weights


def test_an_exported_table_is_the_model(cluster, tmp_path):
    onnx()
    import onnxruntime
    from test_onnx_export import neighbour_table_of_the_page

    potential, path = small(), tmp_path / "model.onnx"
    OnnxExporter().export(potential, Precision.FLOAT64, path, compress=True)
    page: dict = {}
    exec(neighbour_table_of_the_page(), page)
    cutoff = potential.backbone.config["cutoff"]
    table = page["neighbour_table"](cluster.positions, cluster.cell.array, cluster.pbc, cutoff)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    given = (cluster.positions, cluster.cell.array, cluster.numbers.astype(np.int64), *table)
    outputs = session.run(None, dict(zip(names, given, strict=True)))
    found = dict(zip([each.name for each in session.get_outputs()], outputs, strict=True))
    expected, plain = (potential(cluster, dtype="float64", device="cpu", compress=c) for c in (True, False))
    assert np.abs(found["forces"] - expected.forces).max() < AGREEMENT
    assert np.abs(found["forces"] - plain.forces).max() > AGREEMENT


def test_models_without_radial_functions_are_not_exported_compressed(tmp_path):
    onnx()
    with pytest.raises(KernelError, match="cannot be compressed"):
        OnnxExporter().export(
            halocline.load("lennard-jones-argon"), Precision.FLOAT32, tmp_path / "model.onnx", compress=True
        )
    assert not list(tmp_path.iterdir())


def test_programs_for_ipus_have_operators_spelled_out(tmp_path):
    """Its rehearsal, which is part of the export, runs what is in the program and nothing else."""
    model = build_with_seed(OperatorModel, OperatorModel.example_config(), seed=0)
    potential = Potential(model, dict.fromkeys(model.species, 0.0), {})
    manifest = IpuExporter(atoms=24, neighbours=24).export(
        potential, Precision.FLOAT32, tmp_path / "model.ipu.zip"
    )
    assert not any(name.startswith("operator") for name in manifest.versions)


def test_what_is_replaced_is_told(cluster, tmp_path, capsys):
    write(tmp_path / "start.extxyz", cluster)
    words = ["profile", "--md", str(tmp_path / "start.extxyz"), "-m", WATER, "--prune", "1", "--steps", "1"]
    for options, count in (((), 2), (("--compress",), 3)):
        assert main([*words, "--device", "cpu", "--json", *options]) == 0
        replaced = json.loads(capsys.readouterr().out)["replaced"]
        assert len(replaced) == count
    assert (replaced[0]["stage"], replaced[0]["kernel"], replaced[0]["exact"]) == ("layers.0", TABLES, False)
    assert 0.0 < replaced[0]["measured"] <= replaced[0]["stated"] < 1e-4


def test_the_doctor_says_what_kernels_are_for():
    (told,) = examine({"kernel": TABLES})
    assert (told["enabled"], told["exact"]) == (True, False)
    assert told["stages"]["schnet"][0] == told["stages"]["mace"][0] == "layers.0"
    assert "m3gnet" not in told["stages"]
