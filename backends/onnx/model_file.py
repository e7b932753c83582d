"""ONNX files from disk: looked through before anything in them is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final, final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, external_data_helper

from halocline.backends.onnx.convert import MANIFEST_KEY, OPSET
from halocline.errors import ArtefactError, LoweringError
from halocline.lowering import Manifest

#: Operators that write to computed places; where two values meet in one place, ONNX Runtime's CPU kernel for
#: ScatterND adds in a race, and TensorRT drops the addition.
_SCATTERS: Final = ("ScatterND", "ScatterElements")


@final
@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model that was read from disk.

    Attributes:
        model: with all its weights in memory; nothing is read later.
        manifest: what was found inside.
    """

    model: ModelProto
    manifest: Manifest


def open_model(path: Path) -> ModelFile:
    """Read an ONNX file that Halocline wrote.

    Raises:
        ArtefactError: it is no such file, it is of another version, it names data outside of its folder, or it
            adds up by scattering.
    """
    model = _parse(path)
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            _check_location(path, tensor)
    manifest = _manifest(path, model)
    _check_operators(path, model)
    _check_signature(path, model, manifest)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ArtefactError(f"The model {path} cannot be used: {error}.") from error
    return ModelFile(model, manifest)


def _parse(path: Path) -> ModelProto:
    try:
        model = ModelProto()
        model.ParseFromString(path.read_bytes())
        return model
    except OSError as error:
        raise ArtefactError(f"Cannot read the model {path}: {error.strerror}.") from error
    except DecodeError as error:
        raise ArtefactError(f"{path} is not an ONNX model.") from error


def _manifest(path: Path, model: ModelProto) -> Manifest:
    texts = {entry.key: entry.value for entry in model.metadata_props}
    if MANIFEST_KEY not in texts:
        raise ArtefactError(f"The model {path} has no manifest; only models that Halocline exported can be read.")
    try:
        return Manifest.from_json(json.loads(texts[MANIFEST_KEY]))
    except ValueError as error:
        raise ArtefactError(f"The manifest of {path} is damaged; export the model again.") from error
    except LoweringError as error:
        raise ArtefactError(f"{path}: {error}") from error


def _check_operators(path: Path, model: ModelProto) -> None:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": OPSET}:
        found = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in opsets.items())
        raise ArtefactError(
            f"The model {path} is written with the operators {found}; this version reads ai.onnx {OPSET}. "
            "Export it again."
        )
    if model.functions or model.training_info:
        raise ArtefactError(f"The model {path} has functions or training steps, which Halocline never writes.")
    for node in _nodes(model.graph):
        if node.op_type in _SCATTERS and any(a.name == "reduction" and a.s != b"none" for a in node.attribute):
            raise ArtefactError(
                f"The model {path} adds up with {node.op_type} (node {node.name!r}), which ONNX Runtime and "
                "TensorRT compute wrongly; export it in table form."
            )


def _check_signature(path: Path, model: ModelProto, manifest: Manifest) -> None:
    found = [[value.name for value in side] for side in (model.graph.input, model.graph.output)]
    said = [[value.name for value in side] for side in (manifest.inputs, manifest.outputs)]
    if found != said:
        raise ArtefactError(f"Inputs and outputs of {path} are not those of its manifest; export the model again.")


def _check_location(path: Path, tensor: TensorProto) -> None:
    """Refuse data that does not lie in the model's folder, however its place is written."""
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    written = (PurePosixPath(location), PureWindowsPath(location))
    leaves = any(p.is_absolute() or p.drive or ".." in p.parts for p in written)
    folder = path.parent.resolve()
    if not location or leaves or not (folder / location).resolve().is_relative_to(folder):
        raise ArtefactError(
            f"The model {path} takes its weights {tensor.name!r} from {location!r}, which is outside of its "
            "folder; do not use it unless you know who made it."
        )


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor that a model stores."""
    for graph in _graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model.graph):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Every node, those of branches and loops too."""
    for inner in _graphs(graph):
        yield from inner.node


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and all that are inside of it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                for inner in (attribute.g, *attribute.graphs):
                    yield from _graphs(inner)
