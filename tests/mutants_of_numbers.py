"""Faults of scales, zero points, axes, blocks and types."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mutant_graph import DEQUANTIZE, Graph, Kind, Layer, Pair
from onnx import NodeProto, helper

_BLOCK = 3  # divides no number of channels here


def _axis_of(node: NodeProto) -> int:
    return next((each.i for each in node.attribute if each.name == "axis"), 1)


def _set(node: NodeProto, name: str, value: int) -> None:
    kept = [each for each in node.attribute if each.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


# --- places -----------------------------------------------------------------------------------------------------------


def _per_channel(graph: Graph) -> list[Layer]:
    """Layers with a scale and a zero point per channel, more than one."""
    found = [each for each in graph.layers() if len(each.dq.input) > 2]
    return [each for each in found if graph.value(each.dq.input[1]).size > 1]


def _convs(graph: Graph) -> list[Layer]:
    """Convolutions of several channels with a scale per channel, and enough weights to tell."""
    found = [each for each in _per_channel(graph) if each.node.op_type == "Conv"]
    return [each for each in found if graph.value(each.dq.input[0]).size >= 64]


def _with_bias(graph: Graph) -> list[Layer]:
    """Layers with a bias in integers."""
    return [each for each in graph.layers() if len(each.node.input) > 2 and _bias_dq(graph, each) is not None]


def _bias_dq(graph: Graph, layer: Layer) -> NodeProto | None:
    found = graph.writer.get(layer.node.input[2])
    return found if found is not None and found.op_type == DEQUANTIZE else None


def _inner(graph: Graph) -> list[Pair]:
    return [pair for pair in graph.pairs() if graph.through(pair)]


def _behind(*ops: str) -> Callable[[Graph], list[Pair]]:
    """Pairs on what one of `ops` writes, read by layers and nothing else."""

    def found(graph: Graph) -> list[Pair]:
        return [
            pair
            for pair in _inner(graph)
            if (writer := graph.writer.get(pair.tensor)) is not None
            and writer.op_type in ops
            and not _joined(graph, pair)
        ]

    return found


def _joined(graph: Graph, pair: Pair) -> bool:
    """Whether nodes that need one scale before and behind them read it."""
    return any(node.op_type not in ("Conv", "Gemm", "MatMul", "Mul", "Add") for node, _ in graph.through(pair))


def _last(graph: Graph) -> list[Pair]:
    """Pairs in front of the caller, behind a layer."""
    layers = {each.node.output[0] for each in graph.layers()}
    return [pair for pair in graph.pairs() if graph.to_caller(pair) and pair.tensor in layers]


# --- faults -----------------------------------------------------------------------------------------------------------


def _short_scale(graph: Graph, layer: Layer) -> str:
    for port in (1, 2):
        layer.dq.input[port] = graph.constant("planted", graph.value(layer.dq.input[port])[:-1])
    graph.look()
    return str(layer.dq.name)


def _scale(times: float) -> Callable[[Graph, Pair], str]:
    """A pair's scale so many times as wide; the tensor."""

    def plant(graph: Graph, pair: Pair) -> str:
        scale, zero = graph.value(pair.q.input[1]), graph.value(pair.q.input[2])
        graph.parameters(pair, np.asarray(scale * np.float32(times), np.float32), zero)
        return pair.tensor

    return plant


def _no_scale(value: float) -> Callable[[Graph, Pair], str]:
    def plant(graph: Graph, pair: Pair) -> str:
        graph.parameters(pair, np.float32(value), graph.value(pair.q.input[2]))
        return str(pair.q.name)

    return plant


def _far_axis(graph: Graph, layer: Layer) -> str:
    _set(layer.dq, "axis", 7)
    return str(layer.dq.name)


def _other_axis(graph: Graph, layer: Layer) -> str:
    """Scales along an axis of another length."""
    _set(layer.dq, "axis", 1)
    return str(layer.dq.name)


def _uneven(graph: Graph) -> list[Layer]:
    """Layers whose first two axes differ in length."""
    shapes = [(each, graph.value(each.dq.input[0]).shape) for each in _convs(graph)]
    return [each for each, shape in shapes if shape[0] != shape[1] and _axis_of(each.dq) == 0]


def _unsigned_zero(graph: Graph, layer: Layer) -> str:
    zero = graph.value(layer.dq.input[2])
    layer.dq.input[2] = graph.constant("planted_zero", np.full(zero.shape, 0, np.uint8))
    graph.look()
    return str(layer.dq.name)


def _short_zero(graph: Graph, layer: Layer) -> str:
    layer.dq.input[2] = graph.constant("planted_zero", graph.value(layer.dq.input[2])[:-1])
    graph.look()
    return str(layer.dq.name)


def _blocks(graph: Graph, layer: Layer, *, over: int) -> str:
    """Scales in blocks of three along the input channels, `over` more of them than there are."""
    codes, scale = graph.value(layer.dq.input[0]), graph.value(layer.dq.input[1])
    count = -(-codes.shape[1] // _BLOCK) + over
    shape = (codes.shape[0], count, *codes.shape[2:])
    spread = np.broadcast_to(scale.reshape(-1, *[1] * (codes.ndim - 1)), shape)
    layer.dq.input[1] = graph.constant("planted_scale", np.ascontiguousarray(spread))
    layer.dq.input[2] = graph.constant("planted_zero", np.zeros(shape, codes.dtype))
    _set(layer.dq, "axis", 1)
    _set(layer.dq, "block_size", _BLOCK)
    graph.look()
    return str(layer.dq.name)


def _block_count(graph: Graph, layer: Layer) -> str:
    graph.opset(21)
    return _blocks(graph, layer, over=1)


def _early_blocks(graph: Graph, layer: Layer) -> str:
    return _blocks(graph, layer, over=0)


def _at_opset_12(graph: Graph) -> list[Layer]:
    """Layers of models whose other operators are the same at opset 12."""
    later = ("Split", "Resize", "Squeeze", "Unsqueeze", "ReduceSum", "HardSwish", "LayerNormalization")
    return [] if any(node.op_type in later for node in graph.nodes) else _per_channel(graph)


def _early_axis(graph: Graph, layer: Layer) -> str:
    graph.opset(12)
    return str(layer.dq.name)


def _early_type(graph: Graph, pair: Pair) -> str:
    scale = graph.value(pair.q.input[1])
    graph.parameters(pair, np.asarray(scale / np.float32(256), np.float32), np.int16(0))
    return str(pair.q.name)


def _bias_scale(graph: Graph, layer: Layer) -> str:
    dq = _bias_dq(graph, layer)
    assert dq is not None
    dq.input[1] = graph.constant("planted_scale", graph.value(dq.input[1]) * np.float32(2))
    graph.look()
    return str(layer.node.name)


def _collapsed(graph: Graph, layer: Layer) -> str:
    """One scale for channels a thousand times apart."""
    weights = graph.weight_of(layer).copy()
    weights[1::2] *= np.float32(1e-3) * (np.abs(weights[::2]).max() / np.abs(weights[1::2]).max())
    scale = np.float32(np.abs(weights).max() / 127)
    weights[1::2] = np.where(np.abs(weights[1::2]) > 0, np.sign(weights[1::2]) * scale, 0)
    codes = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
    names = [graph.constant("planted", each) for each in (codes, scale, np.int8(0))]
    layer.dq.input[:] = names
    del layer.dq.attribute[:]
    graph.look()
    return str(layer.node.name)


def _narrow_codes(graph: Graph, layer: Layer) -> str:
    """A scale six times too wide."""
    codes, scale = graph.value(layer.dq.input[0]), graph.value(layer.dq.input[1])
    layer.dq.input[0] = graph.constant("planted", np.rint(codes / 6).astype(codes.dtype))
    layer.dq.input[1] = graph.constant("planted_scale", np.asarray(scale * np.float32(6), np.float32))
    graph.look()
    return str(layer.node.name)


def _masked(graph: Graph, pair: Pair) -> str:
    """Scores with a mask of -10000 in front of a Softmax, under one scale."""
    mask = graph.constant("planted_mask", np.asarray([0, -10000], np.float32).reshape(2, *[1] * 4))
    add = graph.add("Add", [pair.dqs[0].output[0], mask], "planted_add")
    names = [graph.constant("planted", each) for each in (np.float32(10000 / 255), np.uint8(255))]
    q = graph.add("QuantizeLinear", [add.output[0], *names], "planted_q")
    dq = graph.add("DequantizeLinear", [q.output[0], *names], "planted_dq")
    graph.output(graph.add("Softmax", [dq.output[0]], "planted_softmax", axis=-1).output[0])
    return str(add.name)


def _wide_part(graph: Graph, place: tuple[NodeProto, int]) -> str:
    """One input of a Concat 500 times as wide, and the result as wide as that."""
    node, port = place
    part = graph.pairs_by_dq()[node.input[port]]
    q = next(reader for reader, _ in graph.readers[node.output[0]] if reader.op_type == "QuantizeLinear")
    whole = next(pair for pair in graph.pairs() if pair.q is q)
    wide = np.asarray(graph.value(part.q.input[1]) * np.float32(500), np.float32)
    graph.parameters(part, wide, graph.value(part.q.input[2]))
    graph.parameters(whole, wide, graph.value(part.q.input[2]))
    return str(node.name)


def _concats(graph: Graph) -> list[tuple[NodeProto, int]]:
    """Concats of pairs that read one of them alone, and which is quantized itself."""
    by_dq = graph.pairs_by_dq()
    behind = {pair.tensor for pair in graph.pairs()}
    found: list[tuple[NodeProto, int]] = []
    for node in graph.nodes:
        if node.op_type != "Concat" or node.output[0] not in behind or not all(name in by_dq for name in node.input):
            continue
        for port, name in enumerate(node.input):
            pair = by_dq[name]
            if len(graph.through(pair)) == 1 and len(set(node.input)) > 1:
                found.append((node, port))
    return found


def _large_codes(graph: Graph, layer: Layer) -> str:
    """Neighbouring weights of one sign whose products pass int16 together."""
    codes = graph.value(layer.dq.input[0])
    layer.dq.input[0] = graph.constant("planted", np.full(codes.shape, 127, codes.dtype))
    graph.look()
    return str(layer.node.name)


def _many_products(graph: Graph) -> list[Layer]:
    """Convolutions of one group with several input channels."""
    return [each for each in _convs(graph) if graph.value(each.dq.input[0]).shape[1] >= 4]


NUMBERS: dict[str, Kind] = {
    "short_scale": Kind("scale_length", _convs, _short_scale),
    "other_axis": Kind("scale_length", _uneven, _other_axis),
    "scale_zero": Kind("scale_not_positive", _inner, _no_scale(0.0)),
    "scale_negative": Kind("scale_not_positive", _inner, _no_scale(-0.1)),
    "scale_nan": Kind("scale_not_positive", _inner, _no_scale(float("nan"))),
    "axis_past_rank": Kind("axis_out_of_range", _per_channel, _far_axis),
    "unsigned_zero_point": Kind("zero_point_type", _per_channel, _unsigned_zero),
    "short_zero_point": Kind("zero_point_shape", _per_channel, _short_zero),
    "one_block_more": Kind("block_count", _many_products, _block_count),
    "blocks_before_opset_21": Kind("block_below_opset", _many_products, _early_blocks),
    "axis_before_opset_13": Kind("axis_below_opset", _at_opset_12, _early_axis),
    "int16_before_opset_21": Kind("type_above_opset", _inner, _early_type),
    "bias_of_other_steps": Kind("bias_scale_mismatch", _with_bias, _bias_scale),
    "channels_collapsed": Kind("collapsed_weights", _convs, _collapsed),
    "codes_unused": Kind("unused_range", _convs, _narrow_codes),
    "probabilities_unused": Kind("unused_range", _behind("Sigmoid"), _scale(8.0)),
    "output_saturated": Kind("output_clipped", _last, _scale(1 / 200)),
    "mask_in_range": Kind("mask_eats_range", _inner, _masked),
    "part_starved": Kind("scale_over_disparate_ranges", _concats, _wide_part),
    "sums_saturate": Kind("sums_inexact", _many_products, _large_codes),
}
