"""Faults of placement: Q and DQ that are missing, doubled, or where they cost something."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mutant_graph import DEQUANTIZE, QUANTIZE, Graph, Kind, Layer, Pair
from onnx import NodeProto, helper

_MOVES = ("MaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
_CUTS = ("Relu", "Clip")


# --- places -----------------------------------------------------------------------------------------------------------


def _read_pairs(graph: Graph) -> list[Pair]:
    """Pairs that some node reads."""
    return [pair for pair in graph.pairs() if graph.through(pair)]


def _written(graph: Graph, ops: tuple[str, ...], *, relu: bool) -> list[Pair]:
    """Pairs, alone on their tensor, behind one of `ops`, or (`relu`) behind the Relu that alone reads it."""
    found = []
    for pair in graph.pairs():
        writer = graph.writer.get(pair.tensor)
        if writer is not None and writer.op_type in _CUTS and relu:
            inside = graph.readers[writer.input[0]]
            writer = graph.writer.get(writer.input[0]) if len(inside) == 1 else None
        if writer is None or writer.op_type not in ops or not graph.alone(pair):
            continue
        if (writer.output[0] != pair.tensor) == relu:
            found.append(pair)
    return found


def _convs(graph: Graph) -> list[Layer]:
    return [layer for layer in graph.layers() if layer.node.op_type == "Conv"]


def _own_data(graph: Graph) -> list[Layer]:
    """Convolutions that alone read a pair."""
    by_dq = graph.pairs_by_dq()
    return [each for each in _convs(graph) if _is_own(graph, by_dq.get(each.node.input[0]))]


def _is_own(graph: Graph, pair: Pair | None) -> bool:
    if pair is None or (pair.tensor in graph.writer and graph.writer[pair.tensor].op_type in _MOVES):
        return False
    return len(graph.through(pair)) == 1 and graph.alone(pair) and not graph.to_caller(pair)


def _joins(*ops: str) -> Callable[[Graph], list[tuple[NodeProto, int]]]:
    """Nodes that read pairs at every port, and one of the ports."""

    def found(graph: Graph) -> list[tuple[NodeProto, int]]:
        by_dq = graph.pairs_by_dq()
        return [
            (node, port)
            for node in graph.nodes
            if node.op_type in ops and len(set(node.input)) > 1 and all(name in by_dq for name in node.input)
            for port in range(len(node.input))
        ]

    return found


def _moves(graph: Graph) -> list[tuple[NodeProto, Pair]]:
    """Nodes that move values from one pair to the next."""
    by_dq = graph.pairs_by_dq()
    behind = {pair.tensor: pair for pair in graph.pairs()}
    return [
        (node, behind[node.output[0]])
        for node in graph.nodes
        if node.op_type in _MOVES and node.input[0] in by_dq and node.output[0] in behind
    ]


def _shared(graph: Graph) -> list[Pair]:
    """uint8 pairs with several readers, each of which is no move of values."""
    return [
        pair
        for pair in _read_pairs(graph)
        if len(graph.through(pair)) > 1
        and graph.value(pair.q.input[2]).dtype == np.uint8
        and all(node.op_type not in _MOVES for node, _ in graph.through(pair))
    ]


# --- faults of placement ----------------------------------------------------------------------------------------------


def _dangling_quantizer(graph: Graph, pair: Pair) -> str:
    scale = graph.constant("planted_scale", graph.value(pair.q.input[1]) * np.float32(1.5))
    return str(graph.add(QUANTIZE, [pair.tensor, scale, pair.q.input[2]], "planted_q").name)


def _dangling_dequantizer(graph: Graph, pair: Pair) -> str:
    dq = pair.dqs[0]
    return str(graph.add(DEQUANTIZE, list(dq.input), "planted_dq").name)


def _doubled(times: float) -> Callable[[Graph, Pair], str]:
    def plant(graph: Graph, pair: Pair) -> str:
        dq = pair.dqs[0]
        readers = graph.readers[dq.output[0]]
        q, second = graph.pair_after(dq.output[0], pair, times)
        graph.reread(dq.output[0], second.output[0], readers)
        return str(q.name)

    return plant


def _move_between_floats(graph: Graph, pair: Pair) -> str:
    tanh = graph.add("Tanh", [pair.dqs[0].output[0]], "planted_tanh")
    q, dq = graph.pair_after(tanh.output[0], pair)
    graph.output(graph.add("Flatten", [dq.output[0]], "planted_flatten").output[0])
    return str(q.name)


def _float_weight(graph: Graph, layer: Layer) -> str:
    layer.node.input[layer.port] = graph.constant("planted_weight", graph.weight_of(layer))
    graph.look()
    graph.forget(layer.dq)
    return str(layer.node.name)


def _float_data(graph: Graph, layer: Layer) -> str:
    graph.drop_pair(graph.pairs_by_dq()[layer.node.input[layer.data]])
    return str(layer.node.name)


def _float_branch(graph: Graph, place: tuple[NodeProto, int]) -> str:
    node, port = place
    pair = graph.pairs_by_dq()[node.input[port]]
    node.input[port] = pair.tensor
    graph.look()
    graph.forget(*pair.dqs)
    graph.forget(pair.q)
    return str(node.name)


def _writer_inside(graph: Graph, tensor: str) -> NodeProto:
    """What computes a tensor, before its Relu."""
    node = graph.writer[tensor]
    return graph.writer[node.input[0]] if node.op_type in _CUTS else node


def _float_reader(graph: Graph, pair: Pair) -> str:
    graph.output(graph.add("Tanh", [pair.tensor], "planted_tanh").output[0])
    return str(_writer_inside(graph, pair.tensor).name)


def _float_output(graph: Graph, pair: Pair) -> str:
    graph.output(pair.tensor)
    return str(_writer_inside(graph, pair.tensor).name)


def _float_result(graph: Graph, pair: Pair) -> str:
    """A result that an operator in floats reads, and what is quantized behind that."""
    node = _writer_inside(graph, pair.tensor)
    tanh = graph.add("Tanh", [pair.tensor], "planted_tanh")
    pair.q.input[0] = tanh.output[0]
    graph.look()
    return str(node.name)


def _second_pair(graph: Graph, pair: Pair) -> str:
    """One of the readers reads through another pair on the same tensor."""
    _, dq = graph.pair_after(pair.tensor, pair, 1.25)
    node, port = graph.through(pair)[0]
    graph.reread(node.input[port], dq.output[0], [(node, port)])
    return str(_writer_inside(graph, pair.tensor).name)


def _pair_before_relu(graph: Graph, pair: Pair) -> str:
    relu = graph.writer[pair.tensor]
    _, dq = graph.pair_after(relu.input[0], pair)
    relu.input[0] = dq.output[0]
    graph.look()
    return str(relu.name)


def _symmetric(graph: Graph, pair: Pair) -> str:
    scale = graph.value(pair.q.input[1])
    graph.parameters(pair, np.asarray(scale * np.float32(255 / 127), np.float32), np.int8(0))
    return str(_writer_inside(graph, pair.tensor).name)


def _signed(graph: Graph, pair: Pair) -> str:
    scale, zero = graph.value(pair.q.input[1]), int(graph.value(pair.q.input[2]))
    graph.parameters(pair, scale, np.int8(zero - 128))
    return pair.tensor


def _signed_everywhere(graph: Graph, pair: Pair) -> str:
    both = (QUANTIZE, DEQUANTIZE)
    for name in {node.input[2] for node in graph.nodes if node.op_type in both and len(node.input) > 2}:
        zero = graph.value(name)
        if zero.dtype == np.uint8:
            signed = graph.constant("planted_zero", (zero.astype(np.int32) - 128).astype(np.int8))
            graph.reread(name, signed, graph.readers[name])
    return pair.tensor


def _left_in_float(graph: Graph, layer: Layer) -> str:
    graph.drop_pair(graph.pairs_by_dq()[layer.node.input[layer.data]])
    return _float_weight(graph, layer)


def _large(graph: Graph) -> list[Layer]:
    """Layers with a twentieth of all weights, or more."""
    total = sum(graph.value(each.dq.input[0]).size for each in graph.layers())
    return [each for each in _own_data(graph) if graph.value(each.dq.input[0]).size * 20 >= total]


def _few_codes(graph: Graph, layer: Layer) -> str:
    codes, scale = graph.value(layer.dq.input[0]), graph.value(layer.dq.input[1])
    few = np.clip(np.rint(codes / 18), -7, 7).astype(codes.dtype)
    layer.dq.input[0] = graph.constant("planted_codes", few)
    layer.dq.input[1] = graph.constant("planted_scale", np.asarray(scale * np.float32(18), np.float32))
    graph.look()
    return str(layer.node.name)


def _weight_of_floats(graph: Graph, layer: Layer) -> str:
    floats = graph.constant("planted_weight", graph.weight_of(layer))
    attributes = {each.name: helper.get_attribute_value(each) for each in layer.dq.attribute}
    q = graph.add(QUANTIZE, [floats, *layer.dq.input[1:]], "planted_q", **attributes)
    layer.dq.input[0] = q.output[0]
    graph.look()
    return str(layer.node.name)


def _many_codes(graph: Graph) -> list[Layer]:
    return [each for each in graph.layers() if graph.value(each.dq.input[0]).size >= 64 and len(each.dq.input) > 2]


def _float_island(graph: Graph, pair: Pair) -> str:
    dq = pair.dqs[0]
    readers = graph.readers[dq.output[0]]
    tanh = graph.add("Tanh", [dq.output[0]], "planted_tanh")
    _, second = graph.pair_after(tanh.output[0], pair, 0.5)
    graph.reread(dq.output[0], second.output[0], readers)
    return str(tanh.name)


def _other_scale(graph: Graph, place: tuple[NodeProto, Pair]) -> str:
    node, pair = place
    graph.parameters(pair, graph.value(pair.q.input[1]) * np.float32(1.25), graph.value(pair.q.input[2]))
    return str(node.name)


def _rounded_output(graph: Graph, pair: Pair) -> str:
    tanh = graph.add("Tanh", [pair.dqs[0].output[0]], "planted_tanh")
    _, dq = graph.pair_after(tanh.output[0], pair, 0.5)
    graph.output(dq.output[0])
    return str(tanh.output[0])


def _rounded_input(graph: Graph, pair: Pair) -> str:
    _float_island(graph, pair)
    return pair.tensor


def _input_pairs(graph: Graph) -> list[Pair]:
    return [pair for pair in _read_pairs(graph) if pair.tensor in graph.inputs and len(pair.dqs) == 1]


def _foreign(graph: Graph, pair: Pair) -> str:
    bits = graph.constant("planted_bits", np.float32(8))
    zero = graph.constant("planted_zero", graph.value(pair.q.input[2]).astype(np.float32))
    domain = "qonnx.custom_op.general"
    attributes = {"narrow": 0, "signed": 0, "rounding_mode": "ROUND"}
    inputs = [pair.tensor, pair.q.input[1], zero, bits]
    quant = graph.add("Quant", inputs, "planted_quant", domain=domain, **attributes)
    for dq in pair.dqs:
        graph.reread(dq.output[0], quant.output[0], graph.readers[dq.output[0]])
    graph.drop(pair.q, *pair.dqs)
    graph.model.opset_import.append(helper.make_opsetid(domain, 1))
    return str(quant.name)


def _unknown_operator(graph: Graph, pair: Pair) -> str:
    dq = pair.dqs[0]
    readers = graph.readers[dq.output[0]]
    node = graph.add("Sharpen", [dq.output[0]], "planted_sharpen", domain="acme.vision")
    graph.reread(dq.output[0], node.output[0], readers)
    graph.model.opset_import.append(helper.make_opsetid("acme.vision", 1))
    return str(node.name)


def _inner(graph: Graph) -> list[Pair]:
    """Pairs that only nodes read."""
    return [pair for pair in _read_pairs(graph) if not graph.to_caller(pair) and len(pair.dqs) == 1]


def _behind(relu: bool, *ops: str) -> Callable[[Graph], list[Pair]]:
    return lambda graph: _written(graph, ops, relu=relu)


def _several(places: Callable[[Graph], list[Pair]]) -> Callable[[Graph], list[Pair]]:
    """Of these the pairs with more readers than one."""
    return lambda graph: [pair for pair in places(graph) if len(graph.through(pair)) > 1]


_COMPUTED = ("Conv", "Add")

PLACEMENT: dict[str, Kind] = {
    "dangling_quantizer": Kind("dangling_quantizer", _read_pairs, _dangling_quantizer),
    "dangling_dequantizer": Kind("dangling_dequantizer", _read_pairs, _dangling_dequantizer),
    "doubled_pair_equal": Kind("doubled_pair", _inner, _doubled(1.0)),
    "doubled_pair_other": Kind("doubled_pair", _inner, _doubled(1.5)),
    "pair_around_move": Kind("redundant_pair", _inner, _move_between_floats),
    "float_weight": Kind("half_quantized_op", _convs, _float_weight),
    "float_data": Kind("half_quantized_op", _own_data, _float_data),
    "float_factor": Kind("half_quantized_op", _joins("Mul"), _float_branch),
    "float_branch": Kind("residual_not_quantized", _joins("Add"), _float_branch),
    "float_part": Kind("residual_not_quantized", _joins("Concat"), _float_branch),
    "float_reader": Kind("float_consumer", _behind(False, *_COMPUTED), _float_reader),
    "float_reader_of_relu": Kind("float_consumer", _behind(True, "Conv"), _float_reader),
    "float_output": Kind("float_consumer", _behind(False, *_COMPUTED), _float_output),
    "second_pair": Kind("quantized_twice", _several(_behind(False, "Conv")), _second_pair),
    "second_pair_of_relu": Kind("quantized_twice", _several(_behind(True, "Conv")), _second_pair),
    "float_result": Kind("output_not_quantized", _behind(False, "Conv"), _float_result),
    "float_result_of_relu": Kind("output_not_quantized", _behind(True, "Conv"), _float_result),
    "pair_before_relu": Kind("activation_not_fused", _behind(True, *_COMPUTED), _pair_before_relu),
    "symmetric_after_relu": Kind("activation_not_fused", _behind(True, "Conv"), _symmetric),
    "signed_fan_out": Kind("signed_fan_out", _shared, _signed),
    "signed_everywhere": Kind("signed_fan_out", _shared, _signed_everywhere),
    "layer_left_in_float": Kind("float_weights_left", _large, _left_in_float),
    "four_bits_in_eight": Kind("stored_wide", _many_codes, _few_codes),
    "weight_of_floats": Kind("stored_wide", _many_codes, _weight_of_floats),
    "float_island": Kind("island", _inner, _float_island),
    "other_scale_behind_move": Kind("island", _moves, _other_scale),
    "rounded_output": Kind("pair_at_graph_edge", _inner, _rounded_output),
    "rounded_input": Kind("pair_at_graph_edge", _input_pairs, _rounded_input),
    "foreign_quantizer": Kind("foreign_quantizer", _inner, _foreign),
    "unknown_operator": Kind("unread_operator", _inner, _unknown_operator),
}
