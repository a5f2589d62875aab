"""MACC as ST counts it, against totals that ST has published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from integer_cases import average_case, binary_case, graph_of, tensor

from qdsl.integer.macc import as_converted, macc, total
from qdsl.integer.records import (
    AveragePool,
    Conv,
    Dense,
    Dequantize,
    Encoding,
    FloatDense,
    Floats,
    IntegerGraph,
    MaxPool,
    Op,
    Quantize,
    Requantize,
    Softmax,
    Table,
    Tensor,
    Unary,
    Window,
)

E = Encoding(0.1, 0)
TO = Requantize(np.ones(1, np.float32))


class Network:
    """Operators one after the other; planes by (channels, side)."""

    def __init__(self, channels: int, side: int) -> None:
        self.channels, self.side = channels, side
        self.tensors = [tensor("t0", (1, channels, side, side), E)]
        self.ops: list[Op] = []

    def add(self, op: Op, shape: tuple[int, ...], dtype: str = "int8") -> None:
        name = f"t{len(self.tensors)}"
        self.ops.append(replace(op, inputs=(self.tensors[-1].name,), output=name))
        self.tensors.append(tensor(name, shape, E if dtype == "int8" else None, dtype))

    def conv(self, outs: int, kernel: int, stride: int, depthwise: bool = False) -> None:
        self.side = (self.side - 1) // stride + 1
        weight = np.zeros((outs, kernel, kernel, 1 if depthwise else self.channels), np.int8)
        bias, groups = np.zeros(outs, np.int32), self.channels if depthwise else 1
        self.channels = outs
        window = Window((kernel, kernel), (stride, stride))
        self.add(Conv("", (), "", weight, bias, window, TO, groups), (1, outs, self.side, self.side))

    def graph(self) -> IntegerGraph:
        return graph_of(self.ops, self.tensors[:1], self.tensors[-1], self.tensors[1:-1])


def mobilenet(classes: int) -> Network:
    """MobileNetV1 of width 0.25 at 224 x 224, softmax in integers at its end."""
    net = Network(3, 224)
    net.conv(8, 3, 2)
    for outs, stride in (
        [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)] + [(128, 1)] * 5 + [(256, 2), (256, 1)]
    ):  # fmt: skip
        net.conv(net.channels, 3, stride, depthwise=True)
        net.conv(outs, 1, 1)
    net.add(AveragePool("", (), "", None), (1, 256, 1, 1))
    net.add(Dense("", (), "", np.zeros((classes, 256), np.int8), np.zeros(classes, np.int32), TO), (1, classes))
    net.add(Softmax("", (), ""), (1, classes))
    return net


def test_a_published_total() -> None:
    """The study's MobileNetV1 with 2 classes: uint8 in, float32 out."""
    graph = mobilenet(2).graph()
    assert as_converted(graph) == 41_091_156
    assert total(graph) == 41_091_156 - 2 * 224 * 224 * 3 - 2 * 2


def test_conversions_may_be_operators() -> None:
    net = mobilenet(2)
    net.add(Dequantize("", (), ""), (1, 2), "float32")
    graph = net.graph()
    image = tensor("image", (1, 3, 224, 224), None, "float32")
    ops = (Quantize("", ("image",), "t0"), *graph.ops)
    whole = IntegerGraph("g", ("image",), graph.outputs, {**graph.tensors, "image": image}, ops)
    assert total(whole) == as_converted(whole) == 41_091_156


def test_a_small_report() -> None:
    """What ST's tool says of a small dense network: Relu, 33 and 15, is counted where it is no part of its layer."""
    net = Network(1, 1)
    net.tensors = [tensor("t0", (1, 99), None, "float32")]
    for ins, outs in ((99, 33), (33, 15), (15, 5)):
        weight, bias = np.zeros((outs, ins), np.float32), np.zeros(outs, np.float32)
        net.add(FloatDense("", (), "", weight, bias, low=0.0), (1, outs), "float32")
    net.add(Softmax("", (), ""), (1, 5), "float32")
    assert list(macc(net.graph()).values()) == [3300, 510, 80, 75]


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (MaxPool("", (), "", Window((2, 2), (2, 2))), 4 * 6 * 6),
        (Table("", (), "", np.zeros(256, np.int8), "Sigmoid"), 10 * 36),
        (Table("", (), "", np.zeros(256, np.int8), "LeakyRelu"), 36),
    ],
)
def test_other_operators(op: Op, expected: int) -> None:
    net = Network(4, 6)
    net.add(op, (1, 4, 3, 3))
    assert total(net.graph()) == expected


def test_functions_of_floats_and_late_biases() -> None:
    x = Tensor("x", (1, 10), "float32", (0, 1))
    graph = graph_of([Unary("", ("x",), "y", "Tanh")], [x], replace(x, name="y"))
    assert total(graph) == 100
    late = Floats(np.ones(1, np.float32), np.zeros(3, np.float32))
    dense = Dense("", ("q",), "y", np.zeros((3, 10), np.int8), None, late)
    graph = graph_of([dense], [tensor("q", (2, 10), E)], Tensor("y", (2, 3), "float32", (0, 1)))
    assert total(graph) == 2 * 3 * 10 + 3


def test_two_tensors_and_whole_planes() -> None:
    assert total(binary_case(0, "Add", E, E, E, ((1, 2, 3, 4), (1, 2, 1, 1))).graph) == 24
    assert total(average_case(0, E, E, (1, 2, 3, 4), None).graph) == 24


@pytest.mark.parametrize(("kernel", "outs", "expected"), [(3, 256, 6_291_712), (1, 374, 3_064_182)])
def test_convolutions_of_a_report(kernel: int, outs: int, expected: int) -> None:
    """Of 256 channels over 32 steps, as ST Edge AI Core 4.0.0 reports them."""
    weight, bias = np.zeros((outs, 1, kernel, 256), np.int8), np.zeros(outs, np.int32)
    op = Conv("", ("x",), "y", weight, bias, Window((1, kernel)), TO)
    y = tensor("y", (1, outs, 1, 32), E)
    assert total(graph_of([op], [tensor("x", (1, 256, 1, 31 + kernel), E)], y)) == expected
