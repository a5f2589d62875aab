"""Types behind operators that shape inference does not know: the table says what the runtime says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdsl.graph import from_proto
from qdsl.graph.runtime_types import runtime_types
from qdsl.graph.type_rules import rule_types

MS = "com.microsoft"
Inputs = Sequence[Any]  # names of graph inputs, arrays for constants, None for one that is not there


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


def codes(*shape: int, kind: str = "u1") -> np.ndarray[Any, Any]:
    return np.ones(shape, kind)


S, Z = np.float32(0.5), np.uint8(3)
CASES: dict[str, tuple[str, str, Inputs, dict[str, Any]]] = {
    "Gelu": (MS, "Gelu", ["x"], {}),
    "FastGelu": (MS, "FastGelu", ["x", floats(8)], {}),
    "BiasGelu": (MS, "BiasGelu", ["x", floats(8)], {}),
    "QuickGelu": (MS, "QuickGelu", ["x"], {}),
    "SkipLayerNormalization": (MS, "SkipLayerNormalization", ["x", "x", floats(8)], {}),
    "SkipSimplifiedLayerNormalization": (MS, "SkipSimplifiedLayerNormalization", ["x", "x", floats(8)], {}),
    "SimplifiedLayerNormalization": ("", "SimplifiedLayerNormalization", ["x", floats(8)], {}),
    "GroupNormalization": ("", "GroupNormalization", ["x", floats(4), floats(4)], {"num_groups": 2}),
    "FusedConv": (MS, "FusedConv", ["image", floats(3, 2, 3, 3)], {"activation": "Relu", "strides": [2, 2]}),
    "FusedGemm": (MS, "FusedGemm", ["row", floats(8, 5)], {"activation": "Relu"}),
    "FusedMatMul": (MS, "FusedMatMul", ["x", floats(8, 3)], {}),
    "FusedMatMul, turned": (MS, "FusedMatMul", ["x", floats(1, 3, 8)], {"transB": 1}),
    "MatMulNBits": (MS, "MatMulNBits", ["x", codes(3, 1, 8), floats(3)], {"K": 8, "N": 3, "bits": 4, "block_size": 16}),
    "QuantizeLinear": (MS, "QuantizeLinear", ["x", S, np.int16(0)], {}),
    "DequantizeLinear": (MS, "DequantizeLinear", ["q", S, Z], {}),
    "QLinearAdd": (MS, "QLinearAdd", ["q", S, Z, codes(8), S, Z, S, Z], {}),
    "QLinearMul": (MS, "QLinearMul", ["q", S, Z, codes(1, 4, 1), S, Z, S, Z], {}),
    "QLinearConcat": (MS, "QLinearConcat", [S, Z, "q", S, Z, "q", S, Z], {"axis": 1}),
    "QLinearSigmoid": (MS, "QLinearSigmoid", ["q", S, Z, S, Z], {}),
    "QLinearWhere": (MS, "QLinearWhere", [np.ones((1, 4, 1), bool), "q", S, Z, codes(8), S, Z, S, Z], {}),
    "QGemm": (MS, "QGemm", ["codes", S, Z, codes(5, 8), S, Z, None, S, Z], {"transB": 1}),
    "QGemm to floats": (MS, "QGemm", ["codes", S, Z, codes(8, 5), S, Z], {}),
    "MatMulIntegerToFloat": (MS, "MatMulIntegerToFloat", ["q", codes(8, 3), S, S, Z, Z], {}),
    "DynamicQuantizeMatMul": (MS, "DynamicQuantizeMatMul", ["x", codes(8, 3), S, Z], {}),
}


def model_of(domain: str, op: str, inputs: Inputs, attrs: dict[str, Any], more: Sequence[Any] = ()) -> onnx.ModelProto:
    """`y = op(..)`, and `z`, which is `y` twice."""
    names = [given if isinstance(given, str) else "" if given is None else f"c{at}" for at, given in enumerate(inputs)]
    constants = [
        numpy_helper.from_array(np.asarray(given), name)
        for name, given in zip(names, inputs, strict=True)
        if given is not None and not isinstance(given, str)
    ]
    nodes = [
        helper.make_node(op, names, ["y"], name="node", domain=domain, **attrs),
        helper.make_node("Concat", ["y", "y"], ["z"], name="twice", axis=0),
        *more,
    ]
    shapes = {"x": (1, [1, 4, 8]), "q": (2, [1, 4, 8]), "image": (1, [1, 2, 9, 9]), "row": (1, [2, 8])}
    shapes["codes"] = (2, [2, 8])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *shapes[name]) for name in dict.fromkeys(names) if name in shapes],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        constants,
    )
    del graph.output[0].type.tensor_type.shape.dim[:]
    graph.output[0].ClearField("type")
    domains = [helper.make_opsetid(name, version) for name, version in (("", 21), (MS, 1), ("own", 1))]
    return helper.make_model(graph, opset_imports=domains, ir_version=10)


@pytest.mark.parametrize("case", CASES)
def test_the_table_says_what_the_runtime_says(case: str) -> None:
    proto = model_of(*CASES[case])
    said, ran = rule_types(proto, ["y", "z"]), runtime_types(proto, ["y", "z"])
    assert set(said) == set(ran) == {"y", "z"}
    for name in ("y", "z"):
        one, other = said[name].tensor_type, ran[name].tensor_type
        assert one.elem_type == other.elem_type
        assert [dim.dim_value for dim in one.shape.dim] == [dim.dim_value for dim in other.shape.dim]


@pytest.mark.parametrize("case", ["Gelu", "GroupNormalization", "FusedConv", "MatMulNBits"])
def test_what_else_is_in_the_model_does_not_matter(case: str) -> None:
    """The runtime loads no model with an operator that it does not know, and would say nothing."""
    proto = model_of(*CASES[case], more=[helper.make_node("Own", ["y"], ["o"], name="own", domain="own")])
    assert not runtime_types(proto, ["y", "z"])
    view = from_proto(proto).view()
    assert view.tensors["z"].dtype == "float32" and view.tensors["z"].shape is not None


def test_grids_keep_type_and_shape() -> None:
    proto = model_of("qonnx.custom_op.general", "Quant", ["x", S, np.float32(0), np.float32(4)], {"signed": 1})
    proto.opset_import.add(domain="qonnx.custom_op.general", version=1)
    assert from_proto(proto).view().tensors["y"].shape == (1, 4, 8)


@pytest.mark.parametrize("sizes", [{"K": 0, "N": 3}, {"K": 2**62, "N": 2**62}, {}])
def test_sizes_that_cannot_be_are_left_alone(sizes: dict[str, int]) -> None:
    proto = model_of(MS, "MatMulNBits", ["x", codes(3, 1, 8), floats(3)], {"bits": 4, "block_size": 16, **sizes})
    assert "y" not in rule_types(proto, ["y"])
