"""From a lowered program to an ONNX model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import onnx
import torch
from onnx import ModelProto, TensorProto, ValueInfoProto, helper
from torch import fx

import halocline
from halocline.backends.onnx.operators import RULES
from halocline.backends.onnx.translation import GraphBuilder, Translation
from halocline.errors import LoweringError
from halocline.lowering import Program, Value
from halocline.lowering.origins import origin

#: Version of the operator set; ONNX Runtime knows it since 1.14.
OPSET: Final = 18

#: Where the manifest is found among the model's metadata.
MANIFEST_KEY: Final = "halocline.manifest"

_ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64}


def to_onnx(program: Program) -> ModelProto:
    """Translate a program operation by operation.

    Args:
        program: in table form.

    Returns:
        A checked model: inputs, outputs and free sizes have the names of the manifest, which is inside.

    Raises:
        LoweringError: the program has an operation that is not translated.
    """
    manifest, builder = program.manifest, GraphBuilder()
    results = _translate(program.graph, builder)
    for value, name in zip(manifest.outputs, results, strict=True):
        builder.name_output(name, value.name)
    graph = helper.make_graph(
        builder.nodes,
        f"{manifest.backbone}-{manifest.kind}",
        [_describe(value) for value in manifest.inputs],
        [_describe(value) for value in manifest.outputs],
        builder.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="halocline",
        producer_version=halocline.__version__,
    )
    helper.set_model_props(model, {MANIFEST_KEY: json.dumps(manifest.to_json())})
    onnx.checker.check_model(model, full_check=True)
    return model


def _translate(graph: fx.GraphModule, builder: GraphBuilder) -> list[str]:
    """Emit all nodes; return the names of the results."""
    if missing := untranslated(graph):
        raise LoweringError(
            f"The ONNX backend cannot translate {', '.join(missing)}; write the stage with other operations, "
            "or use another backend."
        )
    translation = Translation(builder)
    results: Sequence[Any] = ()
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            translation.names[node] = node.target
        elif node.op == "get_attr":
            tensor: torch.Tensor = getattr(graph, node.target)
            translation.names[node] = builder.constant(tensor.detach().cpu().numpy())
        elif node.op == "call_function":
            translation.names[node] = RULES[node.target](translation, node, *node.args, **node.kwargs)
        else:
            (results,) = node.args
    return [translation.tensor(result) for result in results]


def untranslated(graph: fx.GraphModule) -> tuple[str, ...]:
    """Operations without a rule, each with the line of the model that made it, once."""
    calls = (node for node in graph.graph.nodes if node.op == "call_function")
    return tuple(dict.fromkeys(origin(node) for node in calls if node.target not in RULES))


def _describe(value: Value) -> ValueInfoProto:
    text = f"{value.meaning} [{value.unit}]" if value.unit else value.meaning
    return helper.make_tensor_value_info(value.name, _ELEMENT_TYPES[value.dtype], value.shape, text)
