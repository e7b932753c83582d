"""What torch compiles gives what the eager definition gives, on all sizes, and is used only where it was made."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from halocline.aggregation import Form
from halocline.backends.torch import package
from halocline.backends.torch.compiler import KERNELS, keep_kernels_private, require_agreement
from halocline.backends.torch.executor import TorchExecutor
from halocline.backends.torch.exporter import AotExporter
from halocline.backends.torch.graph import compilable
from halocline.backends.torch.samples import arguments
from halocline.errors import ArtefactError, LoweringError, UsageError
from halocline.lowering import lower
from halocline.lowering.keys import program_key
from halocline.model.build import build_backbone
from halocline.native.compiler import find_compiler
from halocline.plugin import registry
from halocline.plugins.pruners.depth import DepthPruner
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.testing import tolerances
from halocline.testing.comparison import energy_scale, force_scale, require_same
from halocline.testing.structures import Samples

#: Compiling takes most of a minute: in quick runs each way compiles one small program, in one precision.
QUICK = "lennard-jones", "float64"

REFERENCE_ENERGY = -13.6


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """A cache of its own, shared by the tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("HALOCLINE_CACHE_DIR", str(folder))
        yield folder


def model(name):
    """A small potential; ``pruned`` has lost its last layer."""
    kind = "schnet" if name == "pruned" else name
    backbone = build_backbone(kind, registry().load("backbone", kind).example_config())
    if name == "pruned":
        backbone, _ = DepthPruner(layers=2).prune(backbone)
    return Potential(backbone, dict.fromkeys(backbone.species, REFERENCE_ENERGY), {"name": "test"})


def structures(potential):
    """Every kind of size, by name; each has other numbers of atoms and edges."""
    samples = Samples(potential.backbone)
    apart = Atoms([potential.species[0]] * 2, positions=[[0, 0, 0], [0, 0, 3 * potential.cutoff]])
    pair = Atoms([potential.species[0]] * 2, positions=[[0, 0, 0], [0, 0, 0.5 * potential.cutoff]])
    return {"atom": samples.atom, "no edges": apart, "pair": pair, **samples.small(), "liquid": samples.liquid}


def published_mace():
    """A MACE with all that published ones have, and few channels."""
    config = registry().load("backbone", "mace").example_config()
    sizes = {"hidden_degree": 1, "max_degree": 3, "correlation": 3, "layers": 2, "channels": 2}
    backbone = build_backbone("mace", config | sizes | {"agnesi": True, "repulsion": True}, seed=1)
    return Potential(backbone, dict.fromkeys(backbone.species, REFERENCE_ENERGY), {"name": "test"})


def require_eager(potential, dtype, backend):
    """Compare with eager float64 on all structures."""
    for name, atoms in structures(potential).items():
        found, expected = potential(atoms, backend=backend, dtype=dtype), potential(atoms, dtype="float64")
        if dtype == "float64":
            require_same(f"of the {name}", found, expected)
            continue
        force = tolerances.FLOAT32_FORCE * force_scale(expected) + tolerances.FLOAT32_FORCE_FLOOR
        np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=force, err_msg=name)
        energy = tolerances.FLOAT32_ENERGY * energy_scale(expected)
        np.testing.assert_allclose(found.energies, expected.energies, rtol=0, atol=energy, err_msg=name)


@pytest.mark.parametrize(
    ("name", "dtype", "way"),
    [
        (*QUICK, "inductor"),
        (*QUICK, "aot"),
        pytest.param("schnet", "float64", "inductor", marks=pytest.mark.slow),
        *(
            pytest.param(*each, marks=[pytest.mark.slow, pytest.mark.exhaustive])
            for each in [
                ("schnet", "float32", "inductor"),
                ("pruned", "float32", "inductor"),
                ("schnet", "float64", "aot"),
                ("schnet", "float32", "aot"),
                ("pruned", "float32", "aot"),
            ]
        ),
    ],
)
def test_as_eager_on_all_sizes(name, dtype, way):
    from torch._dynamo.utils import counters

    before = counters["stats"]["unique_graphs"]
    require_eager(model(name), dtype, f"torch:compile={way}")
    # One compilation for all sizes: 0, 1 and equal ones are nothing special.
    assert counters["stats"]["unique_graphs"] - before == (way == "inductor")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_mace_as_published_as_eager():
    require_eager(published_mace(), "float64", "torch:compile=aot")


@pytest.fixture(scope="module")
def frozen():
    return FrozenModel.freeze(model(QUICK[0]).backbone, Precision(QUICK[1]), Capabilities.reference(Form.EDGES))


@pytest.fixture(scope="module")
def lowered(frozen):
    return lower(frozen)


@pytest.fixture(scope="module")
def built(frozen, lowered, cache):
    """The package of the quick model."""
    package.cached_package(frozen, lowered, "cpu")
    key = program_key(frozen, lowered)
    records = {path: json.loads(path.read_text())["key"] for path in (cache / "artefacts").glob("*.json")}
    (record,) = [path for path, found in records.items() if key.items() <= found.items()]
    return record.with_suffix(package.SUFFIX)


def test_a_second_session_builds_nothing(frozen, built, monkeypatch):
    monkeypatch.setattr(package, "build_package", None)
    TorchExecutor(device="cpu", compile="aot").prepare(frozen)


def test_a_damaged_package_is_built_again(frozen, lowered, built, monkeypatch, caplog):
    good, builds = built.read_bytes(), []

    def build(lowered, device, path):
        builds.append(lowered.manifest.backbone)
        path.write_bytes(good)

    monkeypatch.setattr(package, "build_package", build)
    built.write_bytes(good[: len(good) // 2])
    assert package.cached_package(frozen, lowered, "cpu").manifest == lowered.manifest
    assert built.read_bytes() == good
    assert builds == ["lennard-jones"]
    assert "damaged" in caplog.text


def test_a_package_that_was_found_is_held_against_the_program(frozen, lowered, built, monkeypatch):
    """Whatever the key has left out shows in the numbers."""
    held = []
    monkeypatch.setattr(package, "build_package", None)
    monkeypatch.setattr(package, "require_agreement", lambda *arguments: held.append(arguments))
    found = package.cached_package(frozen, lowered, "cpu")
    assert held == [(lowered, found.run, "cpu")]


def test_threads_change_no_bit_between_calls(built, lowered):
    run = package.open_package(built, "cpu").run
    inputs = arguments(lowered.manifest, atoms=500, edges=20000)  # enough for torch to use all threads
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            first = run(*inputs)
            assert all(torch.equal(*pair) for _ in range(20) for pair in zip(first, run(*inputs), strict=True))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)


def changed(path, folder, change):
    """A copy of a package with other metadata."""
    copy = folder / path.name
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member.endswith("_metadata.json"):
                table = json.loads(data)
                if package.MANIFEST in table:
                    change(table)
                data = json.dumps(table).encode()
            new.writestr(member, data)
    return copy


def other(key, name, value):
    """Change an entry of a table within the metadata."""

    def change(table):
        inner = json.loads(table[key])
        (inner["versions"] if key == package.MANIFEST else inner)[name] = value
        table[key] = json.dumps(inner)

    return change


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (other(package.MACHINE, "torch", "2.0.1"), ArtefactError, "compiled for torch 2.0.1, and here is torch"),
        (other(package.MACHINE, "cpu", "Z80"), ArtefactError, "compiled for cpu Z80"),
        (other(package.MACHINE, "device", "cuda"), ArtefactError, "compiled for cuda, not for cpu"),
        (other(package.MANIFEST, "program", "0"), LoweringError, "version 0"),
        (lambda table: table.pop(package.MANIFEST), ArtefactError, "no package of Halocline"),
    ],
    ids=["torch", "processor", "device", "manifest", "stranger"],
)
def test_a_package_from_elsewhere_is_refused(built, tmp_path, change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        package.open_package(changed(built, tmp_path, change), "cpu")


def test_what_is_no_package_is_refused(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"no zip")
    with pytest.raises(ArtefactError, match="no package that can be read"):
        package.open_package(tmp_path / "model.pt2", "cpu")


@pytest.mark.parametrize(
    "compile_something",
    [
        lambda frozen: TorchExecutor(device="cpu", compile="inductor").prepare(frozen),
        lambda frozen: TorchExecutor(device="cpu", compile="aot").prepare(frozen),
        lambda frozen: AotExporter(),
    ],
    ids=["inductor", "aot", "export"],
)
def test_without_a_compiler(frozen, monkeypatch, compile_something):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert find_compiler() is None
    with pytest.raises(UsageError, match=r"install g\+\+"):
        compile_something(frozen)


def test_kernels_lie_where_only_the_user_can_write(cache, tmp_path, monkeypatch):
    for variable in KERNELS:
        monkeypatch.delenv(variable, raising=False)
    keep_kernels_private()
    assert Path(os.environ[KERNELS[0]]) == cache / "inductor"
    assert (cache / "inductor").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("variable", KERNELS)
@pytest.mark.parametrize("way", ["inductor", "aot"])
def test_kernels_are_taken_from_no_folder_that_others_can_write(frozen, way, variable, tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    monkeypatch.setenv(variable, str(tmp_path / "shared"))
    if way == "aot":
        monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(ArtefactError, match="shared has the mode 777, so that others can write to it"):
        TorchExecutor(device="cpu", compile=way).prepare(frozen)


def test_an_unknown_way_to_compile():
    with pytest.raises(UsageError, match="did you mean 'inductor'"):
        TorchExecutor(device="cpu", compile="induktor")


def test_a_wrong_compilation_is_seen(lowered):
    require_agreement(lowered, lowered, "cpu")
    for wrong in (1 + 1e-6, torch.nan):
        with pytest.raises(ArtefactError, match="compiles the program of 'lennard-jones' wrongly"):
            require_agreement(lowered, lambda *inputs, by=wrong: [by * out for out in lowered(*inputs)], "cpu")


def test_a_program_that_moves_takes_its_constants_along(lowered):
    moved = compilable(lowered, "meta")
    places = {node.kwargs["device"].type for node in moved.graph.nodes if "device" in node.kwargs}
    assert places | {tensor.device.type for tensor in moved.buffers()} == {"meta"}
    assert all(tensor.device.type == "cpu" for tensor in lowered.graph.buffers())


def test_the_diagnosis_names_what_decides_speed_and_rounding(monkeypatch):
    details = TorchExecutor.diagnose().details
    assert details["threads"] == str(torch.get_num_threads())
    assert details["float32 products on the CPU"] == "BLAS; oneDNN is there and not asked for"
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "none" in TorchExecutor.diagnose().details["C++ compiler"]
    products = torch.backends.mkldnn.matmul
    before = products.fp32_precision
    try:
        products.fp32_precision = "bf16"
        assert TorchExecutor.diagnose().details["float32 products on the CPU"] == "oneDNN, which may round to bf16"
    finally:
        products.fp32_precision = before


#: Runs a package with the neighbour table of the documentation, where Halocline and others cannot be imported.
ALONE = """
import importlib.abc, json, sys

class Forbid(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("halocline", "ase"):
            raise ImportError(f"{name} is forbidden here")

sys.meta_path.insert(0, Forbid())
import numpy as np
import torch
names = {}
exec(open(sys.argv[2]).read(), names)
package = torch._inductor.aoti_load_package(sys.argv[1])
cutoff = json.loads(package.get_metadata()["halocline.manifest"])["neighbours"]["cutoff"]
for structure in json.load(open(sys.argv[3])):
    positions, cell, species, periodic = (np.array(structure[key]) for key in structure)
    values = (positions, cell, species, *names["neighbour_table"](positions, cell, periodic, cutoff))
    print(json.dumps([value.tolist() for value in package(*map(torch.from_numpy, values))]))
"""

PAGE = Path(__file__).parents[1] / "docs" / "export.md"


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", Precision)
def test_an_export_runs_with_torch_alone(dtype, tmp_path):
    potential, path = model("schnet"), tmp_path / "model.pt2"
    manifest = AotExporter().export(potential, dtype, path)
    assert package.open_package(path, "cpu").manifest == manifest
    cases = [atoms for name, atoms in structures(potential).items() if name != "liquid"]
    tables = [
        {
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "species": atoms.numbers.tolist(),
            "periodic": atoms.pbc.tolist(),
        }
        for atoms in cases
    ]
    (tmp_path / "structures.json").write_text(json.dumps(tables))
    table = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "table.py").write_text(table[1])
    script = [sys.executable, "-c", ALONE, path, tmp_path / "table.py", tmp_path / "structures.json"]
    done = subprocess.run(script, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line, atoms in zip(done.stdout.splitlines(), cases, strict=True):
        found, expected = json.loads(line), potential(atoms, dtype="float64")
        tolerance = 1e-10 if dtype is Precision.FLOAT64 else 1e-5  # of the largest value
        for value, name in zip(found, ("energies", "energy", "forces", "virial"), strict=True):
            reference = np.asarray(getattr(expected, name))
            scale = max(1.0, np.abs(reference).max())
            np.testing.assert_allclose(value, reference, rtol=0, atol=tolerance * scale, err_msg=name)
