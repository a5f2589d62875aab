"""Small networks for tests of structure and selectors: a writer of ONNX graphs, and heads of several detectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qdsl.graph import from_proto
from qdsl.graph.view import GraphView


class Net:
    """Writes a model node by node; each call returns the name of what it wrote. Weights are zeros."""

    def __init__(self, opset: int = 17) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.opset = opset

    def input(self, name: str, *shape: int | str) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def constant(self, *shape: int, dtype: str = "float32") -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.zeros(shape, dtype=dtype), name))
        return name

    def values(self, values: list[float] | list[int]) -> str:
        """A vector of int64 or float32, a scalar when there is one value."""
        array = np.array(values, dtype=np.int64 if isinstance(values[0], int) else np.float32)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array.reshape(()) if len(values) == 1 else array, name))
        return name

    def one(self, value: int) -> str:
        """A vector of one int64."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array([value], dtype=np.int64), name))
        return name

    def op(self, op: str, *inputs: str, name: str = "", outputs: int = 1, **attrs: object) -> str:
        """Adds a node; returns its first output (the others are called `<first>_1`, `<first>_2`, ...)."""
        name = name or f"{op.lower()}_{len(self.nodes)}"
        written = [f"{name}_out", *(f"{name}_out_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), written, name=name, **attrs))
        return written[0]

    def conv(
        self, x: str, channels: int, kernel: int = 1, stride: int = 1, group: int = 1, name: str = "", inside: int = 0
    ) -> str:
        """A convolution that keeps the map's size (at stride 1); the input's channels are those of `x` as written."""
        inside = inside or self._channels(x)
        weight = self.constant(channels, inside // group, kernel, kernel)
        pad = kernel // 2
        attrs = {"group": group, "strides": [stride, stride], "pads": [pad] * 4}
        return self.op("Conv", x, weight, self.constant(channels), name=name, **attrs)

    def block(self, x: str, channels: int, stride: int = 1) -> str:
        """Convolution and SiLU."""
        y = self.conv(x, channels, kernel=3, stride=stride)
        return self.op("Mul", y, self.op("Sigmoid", y))

    def model(self, *outputs: str) -> onnx.ModelProto:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, values, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)

    def view(self, *outputs: str) -> GraphView:
        return from_proto(self.model(*outputs)).view()

    def _channels(self, tensor: str) -> int:
        """Follows a tensor up to the convolution or input that fixed its channels."""
        makers = {name: node for node in self.nodes for name in node.output}
        while tensor in makers:
            node = makers[tensor]
            if node.op_type in {"Conv", "Concat"}:
                return self._written(node)
            tensor = next(name for name in node.input if not name.startswith("constant_"))
        shapes = {value.name: value.type.tensor_type.shape.dim for value in self.inputs}
        return int(shapes[tensor][1].dim_value)

    def _written(self, node: onnx.NodeProto) -> int:
        if node.op_type == "Concat":
            return sum(self._channels(name) for name in node.input)
        return next(int(c.dims[0]) for c in self.constants if c.name == node.input[1])


def backbone(net: Net, size: int = 64) -> list[str]:
    """Three maps, of strides 2, 4 and 8."""
    x = net.block(net.input("images", 1, 3, size, size), 8, stride=2)
    y = net.block(net.block(x, 8), 8, stride=2)
    return [x, y, net.block(y, 8, stride=2)]


def yolov5(net: Net) -> list[str]:
    """Anchors: per level one convolution, folded to (1, 3, H, W, 7), Sigmoid, Split, arithmetic, joined as a list."""
    lists = []
    for x, size in zip(backbone(net), (32, 16, 8), strict=True):
        y = net.op("Reshape", net.conv(x, 21), net.values([1, 3, 7, size, size]))
        y = net.op("Sigmoid", net.op("Transpose", y, perm=[0, 1, 3, 4, 2]))
        xy = net.op("Split", y, net.values([2, 2, 3]), outputs=3, axis=4)
        wh, score = f"{xy}_1", f"{xy}_2"
        xy = net.op(
            "Mul",
            net.op("Add", net.op("Mul", xy, net.values([2.0])), net.constant(1, 3, size, size, 2)),
            net.values([8.0]),
        )
        wh = net.op(
            "Mul", net.op("Pow", net.op("Mul", wh, net.values([2.0])), net.values([2.0])), net.constant(1, 3, 1, 1, 2)
        )
        y = net.op("Concat", xy, wh, score, axis=4)
        lists.append(net.op("Reshape", y, net.values([1, -1, 7])))
    return [net.op("Concat", *lists, axis=1)]


def ssd(net: Net) -> list[str]:
    """Boxes and scores apart: per level a convolution each, transposed, flattened, joined; two outputs."""
    boxes, scores = [], []
    for x in backbone(net):
        for channels, last, into in ((8, 4, boxes), (6, 3, scores)):
            y = net.op("Transpose", net.conv(x, channels, kernel=3), perm=[0, 2, 3, 1])
            into.append(net.op("Reshape", y, net.values([1, -1, last])))
    return [net.op("Concat", *boxes, axis=1), net.op("Softmax", net.op("Concat", *scores, axis=1), axis=2)]


def suppressed(net: Net) -> list[str]:
    """SSD with its non-maximum suppression in the graph."""
    boxes, scores = ssd(net)
    scores = net.op("Transpose", scores, perm=[0, 2, 1])
    return [net.op("NonMaxSuppression", boxes, scores, net.values([100]), name="nms"), boxes]


def raw_levels(net: Net) -> list[str]:
    """Boxes beside scores, level by level, undecoded: what a YOLOv8 returns in training."""
    maps = []
    for x in backbone(net):
        maps.append(net.op("Concat", net.conv(net.block(x, 8), 64), net.conv(net.block(x, 8), 3), axis=1))
    return maps


def raw_anchors(net: Net) -> list[str]:
    """Anchors, undecoded: per level one convolution folded to (1, 3, 7, H, W) and transposed."""
    maps = []
    for x, size in zip(backbone(net), (32, 16, 8), strict=True):
        y = net.op("Reshape", net.conv(x, 21), net.values([1, 3, 7, size, size]))
        maps.append(net.op("Transpose", y, perm=[0, 1, 3, 4, 2]))
    return maps


def distribution(net: Net) -> list[str]:
    """Box distances as the expectation over bins, by a matrix product with one column."""
    boxes, scores = [], []
    for x, size in zip(backbone(net), (32, 16, 8), strict=True):
        y = net.op("Reshape", net.conv(x, 32), net.values([1, 4, 8, size * size]))
        bins = net.op("Softmax", net.op("Transpose", y, perm=[0, 3, 1, 2]), axis=3)
        boxes.append(net.op("MatMul", bins, net.constant(8, 1)))
        scores.append(net.op("Reshape", net.op("Sigmoid", net.conv(x, 3)), net.values([1, 3, size * size])))
    boxes = [net.op("Reshape", b, net.values([1, -1, 4])) for b in boxes]
    return [net.op("Concat", *boxes, axis=1), net.op("Concat", *scores, axis=2)]


def one_level_two_outputs(net: Net) -> list[str]:
    """One map; boxes decoded from two convolutions, and a score branch that ends in its own output."""
    x = backbone(net)[-1]
    centre = net.op("Sigmoid", net.conv(x, 2))
    boxes = net.op("Concat", centre, net.op("Exp", net.conv(x, 2)), axis=1)
    return [boxes, net.op("Sigmoid", net.conv(x, 3), name="score")]


HEADS: dict[str, Callable[[Net], list[str]]] = {
    head.__name__: head
    for head in (yolov5, ssd, suppressed, raw_levels, raw_anchors, distribution, one_level_two_outputs)
}


def classifier(net: Net) -> list[str]:
    x = net.op("Flatten", net.op("GlobalAveragePool", backbone(net)[-1]))
    return [net.op("Softmax", net.op("Gemm", x, net.constant(8, 5)))]


def pointwise_classifiers(net: Net) -> list[str]:
    """Two answers from 1x1 convolutions after a global pool, one of them a probability, joined."""
    x = net.op("GlobalAveragePool", backbone(net)[-1])
    return [net.op("Concat", net.op("Sigmoid", net.conv(x, 2)), net.conv(x, 3), axis=1)]


def inception(net: Net) -> list[str]:
    """A feature extractor that ends in parallel convolutions."""
    x = backbone(net)[-1]
    return [net.op("Concat", *(net.op("Relu", net.conv(x, 4, kernel=k)) for k in (1, 3, 5)), axis=1)]


def fully_convolutional(net: Net) -> list[str]:
    """Per-pixel classes: side scores resized to the image and added."""
    maps = [
        net.op("Resize", net.conv(x, 4), "", net.values([1.0, 1.0, s, s]))
        for x, s in zip(backbone(net), (2.0, 4.0, 8.0), strict=True)
    ]
    return [net.op("Softmax", net.op("Add", net.op("Add", maps[0], maps[1]), maps[2]), axis=1)]


def side_outputs(net: Net) -> list[str]:
    """Per-pixel masks: side outputs resized, squashed and joined with a bare one."""
    maps = [
        net.op("Resize", net.conv(x, 1), "", net.values([1.0, 1.0, s, s]))
        for x, s in zip(backbone(net), (2.0, 4.0, 8.0), strict=True)
    ]
    return [net.op("Concat", net.op("Sigmoid", maps[0]), net.op("Sigmoid", maps[1]), maps[2], axis=1)]


def unet(net: Net) -> list[str]:
    a, b, c = backbone(net)
    up = net.op("Resize", c, "", net.values([1.0, 1.0, 2.0, 2.0]))
    b = net.block(net.op("Concat", up, b, axis=1), 8)
    up = net.op("Resize", b, "", net.values([1.0, 1.0, 2.0, 2.0]))
    x = net.conv(net.block(net.op("Concat", up, a, axis=1), 8), 3)
    return [net.op("Sigmoid", net.op("Resize", x, "", net.values([1.0, 1.0, 2.0, 2.0])))]


def depth_at_four_scales(net: Net) -> list[str]:
    return [net.op("Sigmoid", net.conv(x, 1)) for x in backbone(net)]


def transformer(net: Net) -> list[str]:
    x = net.op("Reshape", net.conv(net.input("images", 1, 3, 16, 16), 8, kernel=3, stride=2), net.values([1, 8, -1]))
    x = net.op("Transpose", x, perm=[0, 2, 1])
    q, k, v = (net.op("MatMul", x, net.constant(8, 8)) for _ in range(3))
    scores = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1])), axis=2)
    x = net.op("Add", x, net.op("MatMul", net.op("MatMul", scores, v), net.constant(8, 8)))
    return [net.op("Softmax", net.op("MatMul", net.op("ReduceMean", x, axes=[1], keepdims=0), net.constant(8, 4)))]


OTHERS: dict[str, Callable[[Net], list[str]]] = {
    other.__name__: other
    for other in (
        classifier,
        pointwise_classifiers,
        inception,
        fully_convolutional,
        side_outputs,
        unet,
        depth_at_four_scales,
        transformer,
    )
}
