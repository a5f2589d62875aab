"""What TensorRT refuses or reads otherwise, planted in a file that it takes: int8, symmetric, biases in floats."""

from __future__ import annotations

import numpy as np
from mutant_graph import DEQUANTIZE, QUANTIZE, Graph, Kind, Layer, Pair
from onnx import ModelProto, NodeProto, TensorProto, helper

_MOVES = ("Concat", "Flatten", "MaxPool", "Reshape", "Slice", "Split", "Transpose")


def for_tensorrt(model: ModelProto) -> ModelProto:
    """A clean file for TensorRT from one for ONNX Runtime: what is quantized stays so, as int8 with zero point 0."""
    graph = Graph(model)
    zero = graph.constant("zero", np.int8(0))
    for node in [each for each in graph.nodes if each.op_type in (QUANTIZE, DEQUANTIZE)]:
        if len(node.input) < 3 or graph.value(node.input[2]).dtype != np.uint8:
            continue
        scale, point = graph.value(node.input[1]), int(graph.value(node.input[2]).reshape(-1)[0])
        wide = np.float32(max(point, 255 - point) / 127)
        name = f"{node.input[1]}_{point}_signed"
        if name not in graph.constants:
            graph.constants[name] = graph.made(name, np.asarray(scale * wide, np.float32))
        node.input[1], node.input[2] = name, zero
    graph.look()
    for layer in graph.layers():
        _float_bias(graph, layer)
    return graph.done()


def _float_bias(graph: Graph, layer: Layer) -> None:
    dq = graph.writer.get(layer.node.input[2]) if len(layer.node.input) > 2 else None
    if dq is None or dq.op_type != DEQUANTIZE:
        return
    codes, scale = graph.value(dq.input[0]), graph.value(dq.input[1])
    layer.node.input[2] = graph.constant("bias", np.asarray(codes * scale, np.float32))
    graph.look()
    graph.forget(dq)


def _read(graph: Graph) -> list[Pair]:
    return [pair for pair in graph.pairs() if graph.through(pair)]


def _per_channel(graph: Graph) -> list[Layer]:
    return [each for each in graph.layers() if graph.value(each.dq.input[1]).size > 1]


def _convs(graph: Graph) -> list[Layer]:
    return [each for each in graph.layers() if each.node.op_type == "Conv" and len(each.node.input) > 2]


def _unsigned(graph: Graph, pair: Pair) -> str:
    graph.parameters(pair, graph.value(pair.q.input[1]), np.uint8(0))
    return pair.tensor


def _affine(graph: Graph, pair: Pair) -> str:
    graph.parameters(pair, graph.value(pair.q.input[1]), np.int8(-7))
    return pair.tensor


def _sixteen(graph: Graph, pair: Pair) -> str:
    graph.opset(21)
    graph.parameters(pair, graph.value(pair.q.input[1]), np.int16(0))
    return pair.tensor


def _no_zero(graph: Graph, pair: Pair) -> str:
    del pair.q.input[2]
    graph.look()
    return str(pair.q.name)


def _no_axis(graph: Graph, layer: Layer) -> str:
    del layer.dq.attribute[:]
    return str(layer.dq.name)


def _integer_bias(graph: Graph, layer: Layer) -> str:
    bias = graph.value(layer.node.input[2])
    scale = np.float32(max(float(np.abs(bias).max()), 1e-6) / 2**20)
    codes = graph.constant("planted", np.rint(bias / scale).astype(np.int32))
    dq = graph.add(DEQUANTIZE, [codes, graph.constant("planted_scale", scale)], "planted_dq")
    layer.node.input[2] = dq.output[0]
    graph.look()
    return str(layer.node.name)


def _clipped(graph: Graph, layer: Layer) -> str:
    """The integers of a weight cut off before they are dequantized."""
    bounds = [graph.constant(f"planted{at}", np.int8(at)) for at in (-127, 127)]
    clip = graph.add("Clip", [layer.dq.input[0], *bounds], "planted_clip")
    layer.dq.input[0] = clip.output[0]
    graph.look()
    return str(clip.name)


def _given_scale(graph: Graph, place: tuple[Pair, int]) -> str:
    """A scale that the caller gives."""
    pair, _ = place
    given = graph.fresh("planted")
    graph.model.graph.input.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, []))
    for node in (pair.q, *pair.dqs):
        node.input[1] = given
    graph.look()
    return pair.tensor


def _vector(graph: Graph, place: tuple[Pair, int]) -> str:
    """The one scale of what is dequantized as a vector."""
    pair, _ = place
    name = graph.constant("planted", graph.value(pair.q.input[1]).reshape(1))
    for node in pair.dqs:
        node.input[1] = name
    graph.look()
    return str(pair.dqs[0].name)


def _read_by_conv(graph: Graph) -> list[tuple[Pair, int]]:
    """Pairs that a Conv reads, and how many channels they have."""
    found = []
    for layer in _convs(graph):
        pair = graph.pair_read(layer.node, 0)
        group = next((a.i for a in layer.node.attribute if a.name == "group"), 1)
        if pair is not None:
            found.append((pair, graph.value(layer.dq.input[0]).shape[1] * group))
    return found


def _scales(graph: Graph, place: tuple[Pair, int]) -> str:
    """A scale per channel on an activation."""
    pair, count = place
    values = graph.value(pair.q.input[1]) * np.linspace(1, 1.5, count, dtype=np.float32)
    graph.parameters(pair, values, np.zeros(count, np.int8))
    for node in (pair.q, *pair.dqs):
        node.attribute.append(helper.make_attribute("axis", 1))
    return pair.tensor


def _square(graph: Graph) -> list[Layer]:
    """Convolutions of as many inputs as outputs, with a scale per output."""
    return [each for each in _per_channel(graph) if each.node.op_type == "Conv" and _is_square(graph, each)]


def _is_square(graph: Graph, layer: Layer) -> bool:
    shape = graph.value(layer.dq.input[0]).shape
    return shape[0] == shape[1] and graph.pair_read(layer.node, 0) is not None


def _along_inputs(graph: Graph, layer: Layer) -> str:
    del layer.dq.attribute[:]
    layer.dq.attribute.append(helper.make_attribute("axis", 1))
    return str(layer.node.name)


def _four_bits(graph: Graph, layer: Layer) -> str:
    """The weight of a convolution in int4, in steps 16 times as wide."""
    graph.opset(21)
    graph.model.ir_version = 10
    codes, scale = graph.value(layer.dq.input[0]), graph.value(layer.dq.input[1])
    narrow = np.clip(np.rint(codes / 16), -8, 7).astype(np.int8)
    name = graph.fresh("planted")
    graph.constants[name] = helper.make_tensor(name, TensorProto.INT4, narrow.shape, narrow.reshape(-1).tolist())
    layer.dq.input[0], layer.dq.input[1] = name, graph.constant("planted_scale", scale * np.float32(16))
    del layer.dq.input[2:]
    graph.look()
    return str(layer.node.name)


def _integer_operator(graph: Graph, layer: Layer) -> str:
    """A convolution of what is quantized while the model runs."""
    data = layer.node.input[0]
    dynamic = graph.add("DynamicQuantizeLinear", [data], "planted_dynamic")
    dynamic.output.extend([f"{dynamic.output[0]}_scale", f"{dynamic.output[0]}_zero"])
    codes = graph.constant("planted", graph.value(layer.dq.input[0]))
    sums = graph.add("ConvInteger", [dynamic.output[0], codes], "planted_sums")
    sums.attribute.extend(layer.node.attribute)
    graph.output(graph.add("Cast", [sums.output[0]], "planted_cast", to=TensorProto.FLOAT).output[0])
    return str(sums.name)


def _skips(graph: Graph) -> list[tuple[NodeProto, int]]:
    """Additions of two pairs, and the port that is read by others, too. A move of what is quantized is so without a
    pair behind it: TensorRT-RTX builds the same layers of it."""
    by_dq = graph.pairs_by_dq()
    found = [node for node in graph.nodes if node.op_type == "Add" and all(name in by_dq for name in node.input)]
    places = [(node, port, by_dq[node.input[port]]) for node in found for port in (0, 1)]
    return [
        (node, port)
        for node, port, pair in places
        if len(graph.through(pair)) > 1 and not _moves(graph.writer.get(pair.tensor))
    ]


def _moves(node: NodeProto | None) -> bool:
    return node is not None and node.op_type in _MOVES


def _float_skip(graph: Graph, place: tuple[NodeProto, int]) -> str:
    node, port = place
    node.input[port] = graph.pairs_by_dq()[node.input[port]].tensor
    graph.look()
    return str(node.name)


TENSORRT: dict[str, Kind] = {
    "unsigned_pair": Kind("unsigned_integers", _read, _unsigned, "tensorrt"),
    "affine_pair": Kind("zero_point_not_zero", _read, _affine, "tensorrt"),
    "sixteen_bit_pair": Kind("unsupported_type", _read, _sixteen, "tensorrt"),
    "no_zero_point": Kind("zero_point_not_written", _read, _no_zero, "tensorrt"),
    "no_axis": Kind("axis_not_written", _per_channel, _no_axis, "tensorrt"),
    "bias_in_integers": Kind("bias_in_integers", _convs, _integer_bias, "tensorrt"),
    "scales_of_an_activation": Kind("activation_per_channel", _read_by_conv, _scales, "tensorrt"),
    "weights_along_inputs": Kind("weights_along_inputs", _square, _along_inputs, "tensorrt"),
    "four_bits": Kind("four_bits_without_kernel", _convs, _four_bits, "tensorrt"),
    "clipped_weight": Kind("stored_integers_moved", _convs, _clipped, "tensorrt"),
    "vector_scale": Kind("scale_as_vector", _read_by_conv, _vector, "tensorrt"),
    "given_scale": Kind("scale_computed", _read_by_conv, _given_scale, "tensorrt"),
    "operator_on_integers": Kind("qoperator_form", _convs, _integer_operator, "tensorrt"),
    "float_skip": Kind("residual_not_quantized", _skips, _float_skip, "tensorrt"),
}
