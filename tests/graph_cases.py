"""Small and broken models for the tests of qdsl.graph: one builder per diagnostic code, keyed by the code's `setup`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser


def parse(text: str, opset: int = 17) -> ModelProto:
    """A model from the text of its graph."""
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')


def conv_model() -> ModelProto:
    """Conv with stored weights, then Relu."""
    weights = np.linspace(-1, 1, 2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3)
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w"], ["c"], name="/a/conv/Conv", kernel_shape=[3, 3]),
                helper.make_node("Relu", ["c"], ["y"], name="/a/act/Relu"),
            ],
            "small",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 6, 6])],
            [numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def with_external(
    path: Path, location: str, data: bytes | None = None, offset: int = 0, length: int | None = None
) -> None:
    """conv_model with its weights in `location`, which is written beside the model when `data` is given."""
    model = conv_model()
    tensor = model.graph.initializer[0]
    size = len(tensor.raw_data)
    if data is not None:
        (path.parent / location).write_bytes(data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", size if length is None else length)):
        tensor.external_data.add(key=key, value=str(value))
    onnx.save_model(model, path)


def weight_bytes() -> bytes:
    return bytes(conv_model().graph.initializer[0].raw_data)


def _saved(model: ModelProto) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(model.SerializeToString())


def _cut(path: Path) -> None:
    path.write_bytes(conv_model().SerializeToString()[:-7])


def _nested(path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "body", [], [helper.make_tensor_value_info("y", 1, [1])]
    )
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=_leaf())
        body = helper.make_graph([node], "body", [], [helper.make_tensor_value_info("y", 1, [1])])
    body.input.extend([helper.make_tensor_value_info("c", 9, []), helper.make_tensor_value_info("x", 1, [1])])
    _saved(helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))(path)


def _leaf() -> onnx.GraphProto:
    node = helper.make_node("Identity", ["x"], ["y"])
    return helper.make_graph([node], "leaf", [], [helper.make_tensor_value_info("y", 1, [1])])


def _opset(version: int) -> ModelProto:
    model = conv_model()
    model.opset_import[0].version = version
    return model


def _edited(edit: Callable[[TensorProto], None]) -> ModelProto:
    model = conv_model()
    edit(model.graph.initializer[0])
    return model


def _type_99(tensor: TensorProto) -> None:
    tensor.data_type = 99


def _huge(tensor: TensorProto) -> None:
    tensor.dims[0] = 2**40


def _short(tensor: TensorProto) -> None:
    tensor.raw_data = tensor.raw_data[:-4]


def _nan(tensor: TensorProto) -> None:
    values = numpy_helper.to_array(tensor).copy()
    values[1, 2, 0, 0] = np.nan
    tensor.raw_data = values.tobytes()


def _training() -> ModelProto:
    model = conv_model()
    model.training_info.add()
    return model


def _listed_weights() -> ModelProto:
    model = conv_model()
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [2, 3, 3, 3]))
    return model


def _recursive() -> ModelProto:
    text = """g (float[4] x) => (float[4] y) { y = own.F(x) }
    <domain: "own", opset_import: ["" : 17, "own" : 1]> F (a) => (b) { b = own.F(a) }"""
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "own" : 1]>\n{text}')


IF_TEXT = """g (bool c, float[4] x) => (float[4] y) {
  outer = Relu (x)
  y = If (c) <then_branch = a () => (float[4] p) { p = Neg (outer) },
    else_branch = b () => (float[4] q) { q = Abs (x) }>
}"""


def _fused() -> ModelProto:
    """Conv and Relu, and the same two as ONNX Runtime saves them after optimizing."""
    proto = conv_model()
    proto.graph.node[1].output[0] = "r"
    fused = helper.make_node("FusedConv", ["r", "v"], ["y"], "fused", domain="com.microsoft", activation="Relu")
    proto.graph.node.append(fused)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "v"))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def _half() -> ModelProto:
    """The same Conv with weights, inputs and outputs of 16 bits."""
    model = conv_model()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


CASES: dict[str, Callable[[Path], object]] = {
    "model.onnx is a Conv in float16": _saved(_half()),
    "no model.onnx": lambda path: None,
    "model.onnx is cut short": _cut,
    "model.onnx has bodies nested 20 deep": _nested,
    "model.onnx uses opset 28": _saved(_opset(28)),
    "model.onnx has a function that calls itself": _saved(_recursive()),
    "two nodes of model.onnx write the same tensor": _saved(
        parse("g (float[4] x) => (float[4] y) { y = Relu (x) y = Neg (x) }")
    ),
    "a node of model.onnx reads an unknown tensor": _saved(parse("g (float[4] x) => (float[4] y) { y = Add (x, z) }")),
    "two nodes of model.onnx read each other": _saved(
        parse("g (float[4] x) => (float[4] y) { y = Add (x, z) z = Neg (y) }")
    ),
    "a Relu of model.onnx has two inputs": _saved(parse("g (float[4] x) => (float[4] y) { y = Relu (x, x) }")),
    "a constant of model.onnx has element type 99": _saved(_edited(_type_99)),
    "a constant of model.onnx has a dimension of 2^40": _saved(_edited(_huge)),
    "a constant of model.onnx is 4 bytes short": _saved(_edited(_short)),
    "model.onnx has another input": _saved(conv_model()),
    "a weight of model.onnx is NaN": _saved(_edited(_nan)),
    "model.onnx, of opset 8, normalises each element for itself": _saved(
        parse(
            "g (float[1, 2] x, float[2] k) => (float[1, 2] y) { y = BatchNormalization <spatial = 0> (x, k, k, k, k) }",
            8,
        )
    ),
    "the build folder is a file": _saved(conv_model()),
    "the external data of model.onnx is ../secret": lambda path: with_external(path, "../secret"),
    "the external data of model.onnx is missing": lambda path: with_external(path, "weights.bin"),
    "the external data of model.onnx is too short": lambda path: with_external(path, "weights.bin", b"short"),
    "model.onnx declares an output of another type than is computed": _saved(
        parse("g (float[4] x) => (int64[4] y) { y = Relu (x) }")
    ),
    "the nodes of model.onnx have no names": _saved(parse("g (float[4] x) => (float[4] y) { y = Relu (x) }")),
    "model.onnx has an If": _saved(parse(IF_TEXT)),
    "model.onnx lists its weights as inputs": _saved(_listed_weights()),
    "model.onnx has a FusedConv": _saved(_fused()),
    "model.onnx has training information": _saved(_training()),
}
