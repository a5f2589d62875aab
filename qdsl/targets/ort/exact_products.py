"""The same file with integer products that every CPU adds exactly.

Integer operators are kernels of the CPU whether the runtime optimizes or not, and x86 without VNNI adds products of
uint8 and int8 in saturating int16, Arm without the dot product those of int8 wrongly where two lowest integers meet.
Products of uint8 and uint8 are exact everywhere, so the factors are written as such: integers and zero points plus 128,
which changes no product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from qdsl.graph.checks import bodies
from qdsl.graph.integer_operators import Factor, IntegerOperator, multiplying
from qdsl.targets.ort.element_types import declared, factor_type, light

_OFFSET = 128  # from int8 to uint8


def exact_products(proto: ModelProto) -> ModelProto:
    """`proto` with every int8 factor of an integer operator as uint8, in bodies, too. The model itself where it has no
    such operator. The outputs of the operators keep their names and types."""
    if not any(multiplying(node.op_type, node.domain) for graph in _graphs(proto.graph) for node in graph.node):
        return proto
    exact = ModelProto()
    exact.CopyFrom(proto)
    types = shape_inference.infer_shapes(light(exact)).graph
    exact.graph.initializer.append(numpy_helper.from_array(np.asarray(_OFFSET, np.int32), _named("offset", 0)))
    exact.graph.initializer.append(numpy_helper.from_array(np.asarray(_OFFSET, np.uint8), _named("middle", 0)))
    _rewrite(exact.graph, types, {}, count())
    return exact


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for body in bodies(node.attribute):
            yield from _graphs(body)


def _rewrite(graph: GraphProto, typed: GraphProto, outer: Mapping[str, int], numbers: Iterator[int]) -> None:
    """`typed` is the same graph with inferred types, `outer` those of the graphs around it."""
    types = {**outer, **declared(typed)}
    nodes: list[NodeProto] = []
    for node, twin in zip(graph.node, typed.node, strict=True):
        for body, inner in zip(bodies(node.attribute), bodies(twin.attribute), strict=True):
            _rewrite(body, inner, types, numbers)
        operator = multiplying(node.op_type, node.domain)
        nodes += [node] if operator is None else _exact(node, operator, types, next(numbers))
    del graph.node[:]
    graph.node.extend(nodes)


def _exact(node: NodeProto, operator: IntegerOperator, types: Mapping[str, int], number: int) -> list[NodeProto]:
    """`node` on unsigned factors, with what makes them so before it and what it wrote behind."""
    signed = [factor for factor in operator.factors if factor_type(node, factor, types) == TensorProto.INT8]
    before = [made for factor in signed for made in _moved(node, factor, number)]
    port = operator.output
    if port is None or operator.data not in signed or port >= len(node.input) or not node.input[port]:
        return [*before, node]
    before += _plus_128(node.input[port], f"{number}_{port}")
    node.input[port] = before[-1].output[0]
    written, node.output[0] = node.output[0], _named("written", number)
    return [*before, node, *_minus_128(node.output[0], written, number)]


def _moved(node: NodeProto, factor: Factor, number: int) -> list[NodeProto]:
    """Nodes that make uint8 of an int8 factor of `node` and of its zero point, which reads those from then on."""
    node.input.extend([""] * (factor.zero + 1 - len(node.input)))
    made = _plus_128(node.input[factor.port], f"{number}_{factor.port}")
    node.input[factor.port] = made[-1].output[0]
    if not node.input[factor.zero]:
        node.input[factor.zero] = _named("middle", 0)
        return made
    zero = _plus_128(node.input[factor.zero], f"{number}_{factor.zero}")
    node.input[factor.zero] = zero[-1].output[0]
    return [*made, *zero]


def _plus_128(name: str, number: str) -> list[NodeProto]:
    wide, moved, back = (_named(word, number) for word in ("wide", "moved", "unsigned"))
    return [
        helper.make_node("Cast", [name], [wide], to=TensorProto.INT32),
        helper.make_node("Add", [wide, _named("offset", 0)], [moved]),
        helper.make_node("Cast", [moved], [back], to=TensorProto.UINT8),
    ]


def _minus_128(name: str, written: str, number: int) -> list[NodeProto]:
    wide, moved = (_named(word, number) for word in ("widened", "lowered"))
    return [
        helper.make_node("Cast", [name], [wide], to=TensorProto.INT32),
        helper.make_node("Sub", [wide, _named("offset", 0)], [moved]),
        helper.make_node("Cast", [moved], [written], to=TensorProto.INT8),
    ]


def _named(word: str, number: object) -> str:
    return f"qdsl.exact.{word}.{number}"
