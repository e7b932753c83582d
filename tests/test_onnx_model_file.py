"""ONNX files from disk are refused where they are not ours, of another version, or reach out of their folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the ONNX backend needs onnxruntime")
from onnx import TensorProto, helper, numpy_helper
from onnx_programs import lowered, model

from halocline.backends.onnx.convert import MANIFEST_KEY
from halocline.backends.onnx.model_file import open_model
from halocline.errors import ArtefactError
from halocline.program import Precision


@pytest.fixture
def proto():
    """A model to spoil."""
    copy = type(model("lennard-jones", Precision.FLOAT64))()
    copy.CopyFrom(model("lennard-jones", Precision.FLOAT64))
    return copy


def write(folder, proto):
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def move_outside(proto, location):
    """Let a weight lie in another file; return its bytes."""
    tensor = max(proto.graph.initializer, key=lambda each: len(each.raw_data))
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(len(data))}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return data


def test_a_model_comes_back_with_its_manifest(proto, tmp_path):
    opened = open_model(write(tmp_path, proto))
    assert opened.model == proto
    assert opened.manifest == lowered("lennard-jones", Precision.FLOAT64).manifest


def test_weights_beside_the_model_are_read(proto, tmp_path):
    (tmp_path / "weights.bin").write_bytes(move_outside(proto, "weights.bin"))
    opened = open_model(write(tmp_path, proto))
    expected = model("lennard-jones", Precision.FLOAT64).graph.initializer
    for found, tensor in zip(opened.model.graph.initializer, expected, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(found), numpy_helper.to_array(tensor))


@pytest.mark.parametrize(
    "location",
    ["../weights.bin", "sub/../../weights.bin", "{folder}/weights.bin", "..\\weights.bin", "C:\\weights.bin", ""],
)
def test_weights_outside_of_the_folder_are_refused(proto, tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    data = move_outside(proto, location.format(folder=tmp_path))
    (tmp_path / "weights.bin").write_bytes(data)
    with pytest.raises(ArtefactError, match="outside of its folder"):
        open_model(write(folder, proto))


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_links_that_lead_out_of_the_folder_are_refused(proto, tmp_path, linked):
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "weights.bin").write_bytes(
        move_outside(proto, "weights.bin" if linked == "file" else "in/weights.bin")
    )
    if linked == "file":
        (folder / "weights.bin").symlink_to(elsewhere / "weights.bin")
    else:
        (folder / "in").symlink_to(elsewhere)
    with pytest.raises(ArtefactError, match="outside of its folder"):
        open_model(write(folder, proto))


def test_weights_that_a_branch_takes_from_outside_are_refused(proto, tmp_path):
    constant = helper.make_node("Constant", [], ["outside"], value=numpy_helper.from_array(np.zeros(3), "outside"))
    (attribute,) = constant.attribute
    attribute.t.ClearField("raw_data")
    attribute.t.data_location = TensorProto.EXTERNAL
    entry = attribute.t.external_data.add()
    entry.key, entry.value = "location", "../weights.bin"
    result = helper.make_tensor_value_info("outside", TensorProto.DOUBLE, [3])
    branch = helper.make_graph([constant], "branch", [], [result])
    proto.graph.node.append(
        helper.make_node("If", ["condition"], ["chosen"], then_branch=branch, else_branch=branch)
    )
    with pytest.raises(ArtefactError, match="outside of its folder"):
        open_model(write(tmp_path, proto))


def test_weights_that_are_missing_are_an_error(proto, tmp_path):
    move_outside(proto, "weights.bin")
    with pytest.raises(ArtefactError, match="cannot be used"):
        open_model(write(tmp_path, proto))


def test_another_operator_set_is_refused(proto, tmp_path):
    proto.opset_import[0].version = 13
    with pytest.raises(ArtefactError, match=r"ai\.onnx 13"):
        open_model(write(tmp_path, proto))


def test_operators_of_others_are_refused(proto, tmp_path):
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(ArtefactError, match=r"com\.example 1"):
        open_model(write(tmp_path, proto))


def test_a_model_without_manifest_is_refused(proto, tmp_path):
    del proto.metadata_props[:]
    with pytest.raises(ArtefactError, match="no manifest"):
        open_model(write(tmp_path, proto))


def set_manifest(proto, text):
    (entry,) = (entry for entry in proto.metadata_props if entry.key == MANIFEST_KEY)
    entry.value = text


def test_a_manifest_of_another_version_is_refused(proto, tmp_path):
    table = lowered("lennard-jones", Precision.FLOAT64).manifest.to_json()
    set_manifest(proto, json.dumps({**table, "versions": {**table["versions"], "program": "999"}}))
    with pytest.raises(ArtefactError, match="version 999"):
        open_model(write(tmp_path, proto))


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_manifest_is_refused(proto, tmp_path, text):
    set_manifest(proto, text)
    with pytest.raises(ArtefactError):
        open_model(write(tmp_path, proto))


def test_a_manifest_of_another_model_is_refused(proto, tmp_path):
    proto.graph.output[0].name = "something"
    with pytest.raises(ArtefactError, match="not those of its manifest"):
        open_model(write(tmp_path, proto))


@pytest.mark.parametrize("operator", ["ScatterND", "ScatterElements"])
def test_adding_by_scatter_is_refused(proto, tmp_path, operator):
    proto.graph.node.append(helper.make_node(operator, ["a", "b", "c"], ["d"], reduction="add"))
    with pytest.raises(ArtefactError, match=f"adds up with {operator}"):
        open_model(write(tmp_path, proto))


def test_functions_are_refused(proto, tmp_path):
    proto.functions.add().name = "hidden"
    with pytest.raises(ArtefactError, match="functions"):
        open_model(write(tmp_path, proto))


@pytest.mark.parametrize("data", [b"", b"\xff\xff no model", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path, data):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ArtefactError):
        open_model(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ArtefactError, match="No such file"):
        open_model(tmp_path / "model.onnx")
