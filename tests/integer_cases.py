"""One operator each, twice: between Q/DQ nodes in an ONNX file and as an integer graph, with values to run both on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from qdsl.integer.interpret import run
from qdsl.integer.layout import as_onnx, stored
from qdsl.integer.records import (
    AveragePool,
    Binary,
    Concat,
    Conv,
    Dense,
    Encoding,
    IntegerGraph,
    MaxPool,
    Op,
    Requantize,
    Softmax,
    Tensor,
    Window,
)

Array = NDArray[Any]
F32 = np.float32
LAST = (0, 2, 3, 1)
TYPES = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


@dataclass(frozen=True)
class Case:
    """`kinds` are operators that the runtime has to make of `proto`; `feeds` are in the order of ONNX."""

    proto: onnx.ModelProto
    graph: IntegerGraph
    feeds: Mapping[str, Array]
    kinds: tuple[str, ...] = ()


def theirs(case: Case) -> dict[str, Array]:
    """What ONNX Runtime computes, int8 left as it is: such products are exact on every x86-64 CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(seen)
        session = ort.InferenceSession(case.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        kinds = {node.op_type for node in onnx.load(seen).graph.node}
    assert set(case.kinds) <= kinds, f"{case.kinds} expected, {kinds} run"
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(case.feeds)), strict=True))


def ours(case: Case, **options: Any) -> dict[str, Array]:
    tensors = case.graph.tensors
    found = run(case.graph, {name: stored(tensors[name], array) for name, array in case.feeds.items()}, **options)
    return {name: as_onnx(tensors[name], array) for name, array in found.items()}


def unlike(case: Case) -> int:
    """How many values differ."""
    mine, expected = ours(case), theirs(case)
    assert mine.keys() == expected.keys()
    return sum(int(np.count_nonzero(mine[name] != expected[name])) for name in mine)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Array],
    outputs: Mapping[str, str],
    constants: Mapping[str, Array],
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info(name, TYPES[str(x.dtype)], x.shape) for name, x in inputs.items()],
        [helper.make_tensor_value_info(name, TYPES[dtype], None) for name, dtype in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def codes(draw: np.random.Generator, *shape: int) -> Array:
    return draw.integers(-128, 128, shape).astype(np.int8)


def parameters(name: str, encoding: Encoding) -> dict[str, Array]:
    return {f"{name}_scale": np.asarray(F32(encoding.scale)), f"{name}_zero": np.asarray(np.int8(encoding.zero))}


def quantize(source: str, target: str, by: str) -> onnx.NodeProto:
    return helper.make_node("QuantizeLinear", [source, f"{by}_scale", f"{by}_zero"], [target])


def dequantize(source: str, target: str, by: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [source, f"{by}_scale", f"{by}_zero"], [target], **attributes)


def tensor(name: str, shape: Sequence[int], encoding: Encoding | None, dtype: Any = "int8") -> Tensor:
    """Of ONNX's `shape`; planes are stored with channels last."""
    axes = LAST if len(shape) == 4 else tuple(range(len(shape)))
    return Tensor(name, tuple(shape[axis] for axis in axes), dtype, axes, encoding)


def graph_of(
    ops: Sequence[Op], inputs: Sequence[Tensor], output: Tensor, between: Sequence[Tensor] = ()
) -> IntegerGraph:
    tensors = {one.name: one for one in (*inputs, *between, output)}
    return IntegerGraph("case", tuple(one.name for one in inputs), (output.name,), tensors, tuple(ops))


def shape_of(proto: onnx.ModelProto, name: str) -> tuple[int, ...]:
    """Of a tensor between the nodes, as ONNX's inference finds it."""
    known = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    values = {one.name: one for one in (*known.graph.value_info, *known.graph.output)}
    return tuple(size.dim_value for size in values[name].type.tensor_type.shape.dim)


def of_one(
    node: onnx.NodeProto,
    op: Op,
    feeds: Mapping[str, tuple[Array, Encoding]],
    y: Encoding,
    kinds: tuple[str, ...],
    opset: int = 17,
    further: Mapping[str, Array] | None = None,
) -> Case:
    """`node` reads the dequantized `feeds` (x becomes x_float) and constants and writes y_float; `op` is its integer
    form."""
    constants = parameters("y", y) | dict(further or {})
    for name, (_, encoding) in feeds.items():
        constants |= parameters(name, encoding)
    nodes = [dequantize(name, f"{name}_float", name) for name in feeds]
    arrays = {name: array for name, (array, _) in feeds.items()}
    proto = model([*nodes, node, quantize("y_float", "y", "y")], arrays, {"y": "int8"}, constants, opset)
    inputs = [tensor(name, array.shape, encoding) for name, (array, encoding) in feeds.items()]
    return Case(proto, graph_of([op], inputs, tensor("y", shape_of(proto, "y"), y)), arrays, kinds)


def conv_case(
    seed: int,
    *,
    size: tuple[int, int] = (6, 5),
    channels: tuple[int, int] = (3, 4),
    window: Window = Window((3, 3)),  # noqa: B008
    groups: int = 1,
    per_channel: bool = True,
    bias: bool = True,
    zeros: tuple[int, int] = (-7, 3),
    activation: str | None = None,
    halves: bool = False,
    limits: tuple[int, int] = (-128, 127),
) -> Case:
    """`channels` are per group; `halves` makes ties common; `limits` are only those of the integer graph."""
    draw = np.random.default_rng(seed)
    ins, outs = channels
    x = codes(draw, 1, ins * groups, *size)
    weight = draw.integers(-127, 128, (outs * groups, ins, *window.kernel)).astype(np.int8)
    if halves:
        weight = np.sign(weight)
    x_scale = F32(0.5 if halves else draw.uniform(0.01, 0.1))
    w_scale = np.full(len(weight), F32(0.5)) if halves else draw.uniform(0.001, 0.1, len(weight)).astype(F32)
    w_scale = w_scale if per_channel else w_scale[:1]
    spread = 70 * np.sqrt(weight[0].size) * float(np.abs(weight.astype(float)).mean())
    y_scale = F32(1) if halves else F32(float(x_scale) * float(w_scale.mean()) * spread / 50)
    added = draw.integers(-int(spread) - 1, int(spread) + 1, len(weight)).astype(np.int32)
    names = ["x_float", "w_float", "b_float"] if bias else ["x_float", "w_float"]
    nodes = [
        dequantize("x", "x_float", "x"),
        dequantize("w", "w_float", "w", axis=0),
        *([dequantize("b", "b_float", "b", axis=0)] if bias else []),
        helper.make_node(
            "Conv",
            names,
            ["c"],
            kernel_shape=window.kernel,
            strides=window.strides,
            dilations=window.dilations,
            pads=window.pads,
            group=groups,
        ),
        *([helper.make_node(activation, ["c"], ["a"])] if activation else []),
        quantize("a" if activation else "c", "y", "y"),
    ]
    encodings = Encoding(float(x_scale), zeros[0]), Encoding(float(y_scale), zeros[1])
    shape = w_scale.shape if per_channel else ()
    constants = parameters("x", encodings[0]) | parameters("y", encodings[1])
    constants |= {"w": weight, "w_scale": w_scale.reshape(shape), "w_zero": np.zeros(shape, np.int8)}
    if bias:
        constants |= {"b": added, "b_scale": (x_scale * w_scale).reshape(shape), "b_zero": np.zeros(shape, np.int32)}
    proto = model(nodes, {"x": x}, {"y": "int8"}, constants)
    scale = (x_scale * w_scale) / y_scale
    kernels = np.ascontiguousarray(weight.transpose(LAST))
    op = Conv("c", ("x",), "y", kernels, added if bias else None, window, Requantize(scale, *limits), groups)
    y = tensor("y", shape_of(proto, "y"), encodings[1])
    return Case(proto, graph_of([op], [tensor("x", x.shape, encodings[0])], y), {"x": x}, ("QLinearConv",))


def dense_case(
    seed: int, *, rows: int = 3, ins: int = 20, outs: int = 6, gemm: bool = True, zeros: tuple[int, int] = (5, -9),
    per_channel: bool = False, halves: bool = False,
) -> Case:  # fmt: skip
    """Gemm with a bias, or MatMul without."""
    draw = np.random.default_rng(seed)
    x, weight = codes(draw, rows, ins), draw.integers(-127, 128, (outs, ins)).astype(np.int8)
    if halves:
        weight = np.sign(weight)
    x_scale = F32(0.5 if halves else draw.uniform(0.01, 0.1))
    w_scale = np.full(outs, F32(0.5)) if halves else draw.uniform(0.001, 0.1, outs).astype(F32)
    w_scale = w_scale if per_channel else w_scale[:1]
    y_scale = F32(1) if halves else F32(float(x_scale) * float(w_scale.mean()) * 70 * np.sqrt(ins) * 64 / 50)
    added = draw.integers(-2000, 2000, outs).astype(np.int32) if gemm else None
    encodings = Encoding(float(x_scale), zeros[0]), Encoding(float(y_scale), zeros[1])
    shape = w_scale.shape if per_channel else ()
    constants = parameters("x", encodings[0]) | parameters("y", encodings[1])
    constants |= {"w": weight if gemm else weight.T.copy()}
    constants |= {"w_scale": w_scale.reshape(shape), "w_zero": np.zeros(shape, np.int8)}
    nodes = [dequantize("x", "x_float", "x"), dequantize("w", "w_float", "w", axis=0 if gemm else 1)]
    if added is not None:
        constants |= {"b": added, "b_scale": (x_scale * w_scale).reshape(shape), "b_zero": np.zeros(shape, np.int32)}
        nodes += [
            dequantize("b", "b_float", "b", axis=0),
            helper.make_node("Gemm", ["x_float", "w_float", "b_float"], ["c"], transB=1),
        ]
    else:
        nodes += [helper.make_node("MatMul", ["x_float", "w_float"], ["c"])]
    proto = model([*nodes, quantize("c", "y", "y")], {"x": x}, {"y": "int8"}, constants)
    op = Dense("c", ("x",), "y", weight, added, Requantize((x_scale * w_scale) / y_scale))
    graph = graph_of([op], [tensor("x", x.shape, encodings[0])], tensor("y", (rows, outs), encodings[1]))
    return Case(proto, graph, {"x": x}, ("QGemm" if gemm else "QLinearMatMul",))


def binary_case(
    seed: int, kind: str, a: Encoding, b: Encoding, y: Encoding, shapes: tuple[Sequence[int], Sequence[int]]
) -> Case:
    draw = np.random.default_rng(seed)
    node = helper.make_node(kind, ["a_float", "b_float"], ["y_float"])
    feeds = {"a": (codes(draw, *shapes[0]), a), "b": (codes(draw, *shapes[1]), b)}
    lowered: Any = kind.lower()
    fused = f"QLinear{kind}" if kind in ("Add", "Mul") else kind  # the others compute between the pairs, in floats
    return of_one(node, Binary("n", ("a", "b"), "y", lowered), feeds, y, (fused,))


def concat_case(seed: int, inputs: Sequence[Encoding], y: Encoding, sizes: Sequence[int]) -> Case:
    """Of planes along their channels."""
    draw = np.random.default_rng(seed)
    feeds = {
        f"x{i}": (codes(draw, 1, size, 4, 3), one) for i, (one, size) in enumerate(zip(inputs, sizes, strict=True))
    }
    node = helper.make_node("Concat", [f"{name}_float" for name in feeds], ["y_float"], axis=1)
    return of_one(node, Concat("n", tuple(feeds), "y", 3), feeds, y, ("QLinearConcat",))


def average_case(
    seed: int, x: Encoding, y: Encoding, shape: Sequence[int], window: Window | None, counts_pads: bool = False
) -> Case:
    draw = np.random.default_rng(seed)
    if window is None:
        node = helper.make_node("GlobalAveragePool", ["x_float"], ["y_float"])
    else:
        node = helper.make_node(
            "AveragePool",
            ["x_float"],
            ["y_float"],
            kernel_shape=window.kernel,
            strides=window.strides,
            pads=window.pads,
            count_include_pad=int(counts_pads),
        )
    kind = "QLinearGlobalAveragePool" if window is None else "QLinearAveragePool"
    everywhere = window is not None and window.kernel == tuple(shape[2:]) and not any(window.pads)
    op = AveragePool("n", ("x",), "y", None if everywhere else window, counts_pads)
    return of_one(node, op, {"x": (codes(draw, *shape), x)}, y, (kind,))


def max_case(seed: int, x: Encoding, shape: Sequence[int], window: Window) -> Case:
    draw = np.random.default_rng(seed)
    node = helper.make_node(
        "MaxPool",
        ["x_float"],
        ["y_float"],
        kernel_shape=window.kernel,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
    )
    array = codes(draw, *shape) // 2 - 64  # all below 0, so that padding by 0 would win
    return of_one(node, MaxPool("n", ("x",), "y", window), {"x": (array.astype(np.int8), x)}, x, ())


def softmax_case(seed: int, x: Encoding, y: Encoding, shape: Sequence[int]) -> Case:
    draw = np.random.default_rng(seed)
    node = helper.make_node("Softmax", ["x_float"], ["y_float"], axis=-1)
    return of_one(node, Softmax("n", ("x",), "y"), {"x": (codes(draw, *shape), x)}, y, ("QLinearSoftmax",))
