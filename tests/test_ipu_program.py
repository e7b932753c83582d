"""IPU programs: what is written down computes what was lowered, and no damaged file is taken for a program."""

from __future__ import annotations

import ast
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ipu_programs import BACKBONES, backbone, capacity, handmade, lowered
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

from halocline.aggregation import Form
from halocline.backends.ipu import runner
from halocline.backends.ipu.calls import FACTORIES
from halocline.backends.ipu.exporter import IpuExporter
from halocline.backends.ipu.program_file import IpuProgram, references
from halocline.backends.ipu.translate import from_lowered
from halocline.errors import LoweringError, UsageError
from halocline.lowering import Program, flatten, lower
from halocline.lowering.example import whole_inputs
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.program.capacity import pad

aten = torch.ops.aten


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def name(request):
    return request.param


def program_of(name, precision=Precision.FLOAT32):
    return FrozenModel.freeze(backbone(name), precision, Capabilities.reference(Form.TABLE))


def write(path, table, constants):
    """A file with these members, whatever they are."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(runner.PROGRAM, table)
        archive.writestr(runner.CONSTANTS, constants)


class TestTranslation:
    def test_replay_gives_what_the_graph_gives_to_the_bit(self, name, tmp_path):
        room = capacity(backbone(name).hops)
        graph = lower(program_of(name), capacity=room)
        path = tmp_path / "program.ipu.zip"
        from_lowered(graph).write(path)
        replay = runner.Replay(*runner.read_program(path))
        inputs = pad(whole_inputs(backbone(name), Form.TABLE, Precision.FLOAT32, atoms=7), room)
        tensors = flatten(inputs)[: len(replay.inputs)]
        for found, expected in zip(replay(*tensors), graph(*tensors), strict=True):
            assert torch.equal(found, expected)

    def test_nothing_is_made_from_sizes_and_no_number_stands_for_a_tensor(self, name):
        for operation in lowered(name).operations:
            _, base, overload = operation.target.split(".")
            schema = getattr(getattr(aten, base), overload)._schema
            assert base not in FACTORIES
            assert "device" not in operation.kwargs
            for argument, value in zip(schema.arguments, operation.args, strict=False):
                if str(argument.type) == "Tensor":
                    assert list(value) == ["ref"]

    def test_everything_is_read(self, name):
        program = lowered(name)
        read = {*references([(each.args, each.kwargs) for each in program.operations]), *program.outputs}
        assert set(program.constants) <= read
        assert all(read.intersection(each.results) for each in program.operations)

    def test_parameters_keep_their_names_and_values(self):
        program = program_of("schnet")
        named = dict(program.backbone.named_parameters())
        compiled = from_lowered(lower(program, capacity=capacity(3)), named)
        assert sorted(compiled.parameters.values()) == sorted(named)
        for constant, parameter in compiled.parameters.items():
            assert np.array_equal(compiled.constants[constant], named[parameter].numpy())

    def test_float64_is_refused(self):
        graph = lower(program_of("lennard-jones", Precision.FLOAT64), capacity=capacity(1))
        with pytest.raises(LoweringError, match="float32"):
            from_lowered(graph)

    def test_free_sizes_are_refused(self):
        graph = make_fx(lambda x: (x * 2,), tracing_mode="symbolic")(torch.zeros(5))
        manifest = lower(program_of("lennard-jones"), capacity=capacity(1)).manifest
        with pytest.raises(LoweringError, match="capacity"):
            from_lowered(Program(graph, manifest))

    def test_outputs_that_no_operation_gives_are_copied(self):
        graph = fx.Graph()
        x = graph.placeholder("x")
        x.meta["val"] = torch.zeros(2)
        ones = graph.call_function(aten.ones.default, ([3],))
        ones.meta["val"] = torch.ones(3)
        graph.output((x, ones))
        manifest = lower(program_of("lennard-jones"), capacity=capacity(1)).manifest
        program = from_lowered(Program(fx.GraphModule({}, graph), manifest))
        assert [each.target for each in program.operations] == ["aten.clone.default"] * 2
        assert [value.tolist() for value in program.constants.values()] == [[1.0] * 3]


class TestFile:
    def test_round_trip_keeps_everything_and_equal_programs_have_equal_bytes(self, name, tmp_path):
        program = lowered(name)
        path = tmp_path / "program.ipu.zip"
        program.write(path)
        assert IpuProgram.read(path).to_bytes() == path.read_bytes() == program.to_bytes()

    def test_nothing_is_pickled(self, name):
        with zipfile.ZipFile(io.BytesIO(lowered(name).to_bytes())) as archive:
            assert sorted(archive.namelist()) == [runner.CONSTANTS, runner.PROGRAM]
            with np.load(io.BytesIO(archive.read(runner.CONSTANTS)), allow_pickle=False) as constants:
                assert all(constants[key].dtype != object for key in constants.files)

    @pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
    def test_a_file_cut_short_is_refused(self, tmp_path, part):
        path = tmp_path / "program.ipu.zip"
        data = handmade().to_bytes()
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(LoweringError, match=r"program\.ipu\.zip cannot be read"):
            IpuProgram.read(path)

    def test_any_changed_byte_of_the_constants_is_seen(self, tmp_path):
        """The archive has a checksum of its own, so the attack is on a consistent archive."""
        path = tmp_path / "program.ipu.zip"
        with zipfile.ZipFile(io.BytesIO(handmade().to_bytes())) as archive:
            table, constants = archive.read(runner.PROGRAM), bytearray(archive.read(runner.CONSTANTS))
        constants[len(constants) // 2] ^= 1
        write(path, table, bytes(constants))
        with pytest.raises(LoweringError, match="digest"):
            IpuProgram.read(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": "other"}, "does not say"),
            ({"version": 99}, "version 99"),
            ({"constants_sha256": ""}, "digest"),
            ({"outputs": ["nowhere"]}, "outputs"),
            ({"parameters": {"nothing": "layer.weight"}}, "parameters"),
            ({"inputs": [{"name": "x", "dtype": "float64", "shape": [4, 3]}]}, "float64"),
            ({"operations": [{"target": "os.system", "args": [], "kwargs": {}, "results": ["y"]}]}, r"os\.system"),
            ({"operations": [{"target": "aten.neg.default"}]}, "args"),
            ({"operations": 5}, "sound"),
            ({"inputs": None}, "sound"),
        ],
    )
    def test_a_changed_table_is_refused(self, tmp_path, change, message):
        path = tmp_path / "program.ipu.zip"
        with zipfile.ZipFile(io.BytesIO(handmade().to_bytes())) as archive:
            table, constants = json.loads(archive.read(runner.PROGRAM)), archive.read(runner.CONSTANTS)
        write(path, json.dumps({**table, **change}), constants)
        with pytest.raises(LoweringError, match=message) as caught:
            IpuProgram.read(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("order", ["backwards", "twice"])
    def test_names_are_given_once_and_before_they_are_read(self, tmp_path, order):
        program = handmade()
        operations = program.operations[::-1] if order == "backwards" else program.operations * 2
        path = tmp_path / "program.ipu.zip"
        replace(program, operations=operations).write(path)
        with pytest.raises(LoweringError, match="before" if order == "backwards" else "twice"):
            IpuProgram.read(path)

    def test_pickled_constants_are_refused_unread(self, tmp_path):
        path = tmp_path / "program.ipu.zip"
        replace(handmade(), constants={"weight": np.array([Bomb()], object)}).write(path)
        with pytest.raises(LoweringError, match="pickle"):
            IpuProgram.read(path)

    def test_other_files_are_refused(self, tmp_path):
        path = tmp_path / "program.ipu.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights.npz", b"")
        with pytest.raises(LoweringError, match=r"program\.json"):
            IpuProgram.read(path)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(runner.PROGRAM, "0" * 10**6)
        with pytest.raises(LoweringError, match="compressed"):
            IpuProgram.read(path)


class Bomb:
    """What it is pickled as would end the process that reads it."""

    def __reduce__(self):
        return exit, (13,)


class TestExport:
    def test_manifest_says_what_the_program_takes(self, tmp_path):
        path = tmp_path / "model.ipu.zip"
        manifest = IpuExporter(atoms=6, neighbours=5).export(potential(), Precision.FLOAT32, path)
        program = IpuProgram.read(path)
        assert [(each.name, each.shape) for each in manifest.inputs] == [
            (each.name, each.shape) for each in program.inputs
        ]
        assert program.manifest["weights"] == manifest.weights

    def test_float64_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="float32"):
            IpuExporter().export(potential(), Precision.FLOAT64, tmp_path / "model.ipu.zip")

    @pytest.mark.parametrize("size", [{"atoms": 0}, {"neighbours": 0}])
    def test_no_room_is_refused(self, size):
        with pytest.raises(UsageError, match="at least one"):
            IpuExporter(**size)


def potential():
    model = backbone("lennard-jones")
    return Potential(model, dict.fromkeys(model.species, 0.0), {})


class TestSource:
    """The runner is for an interpreter from 2019 that has never heard of Halocline."""

    tree = ast.parse(Path(runner.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))

    def test_it_needs_torch_and_numpy_alone(self):
        imports = [node for node in ast.walk(self.tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        roots = {(getattr(node, "module", None) or node.names[0].name).split(".")[0] for node in imports}
        standard = {
            "argparse",
            "collections",
            "hashlib",
            "importlib",
            "io",
            "json",
            "os",
            "pathlib",
            "struct",
            "sys",
        }
        assert roots - standard == {"__future__", "numpy", "torch", "typing", "zipfile"}

    def test_it_uses_nothing_younger_than_python_3_8(self):
        called = {node.attr for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)}
        keywords = {node.arg for node in ast.walk(self.tree) if isinstance(node, ast.keyword)}
        assert not called & {"removeprefix", "removesuffix", "pairwise", "is_relative_to"}
        assert not keywords & {"strict", "slots", "kw_only", "encoding_errors"}
