"""Classification networks with random weights, for benchmarks of speed: the shapes are the published ones."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

OPSET, IR = 17, 8
INPUT = "images"


class _Writer:
    """Appends layers to one graph; each method takes and returns the name of a tensor."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, op: str, inputs: list[str], **attrs: object) -> str:
        name = f"/{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_output"], name=name, **attrs))
        return f"{name}_output"

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def conv(self, x: str, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        """A Conv with its normalization folded in, "same" padding for odd kernels."""
        fan = cin // groups * kernel * kernel
        shape = (cout, cin // groups, kernel, kernel)
        weight = self.constant(self.rng.normal(0, np.sqrt(2 / fan), shape))
        bias = self.constant(self.rng.normal(0, 0.1, cout))
        sides = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        return self.node("Conv", [x, weight, bias], group=groups, **sides)

    def clip6(self, x: str) -> str:
        return self.node("Clip", [x, self.constant(np.array(0.0)), self.constant(np.array(6.0))])

    def classifier(self, x: str, cin: int) -> str:
        flat = self.node("Flatten", [self.node("GlobalAveragePool", [x])], axis=1)
        weight = self.constant(self.rng.normal(0, 0.03, (1000, cin)))
        return self.node("Gemm", [flat, weight, self.constant(np.zeros(1000))], transB=1)

    def model(self, name: str, output: str) -> ModelProto:
        given = helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, [1, 3, 224, 224])
        found = helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, [1, 1000])
        graph = helper.make_graph(self.nodes, name, [given], [found], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def mobilenet_v2(seed: int = 0) -> ModelProto:
    """MobileNetV2 at width 1.0 (Sandler et al. 2018, table 2): 52 Conv, 35 Clip, 10 Add, 1 Gemm."""
    net = _Writer(seed)
    x, cin = net.clip6(net.conv(INPUT, 3, 32, 3, 2)), 32
    for expand, cout, count, first in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for index in range(count):
            stride, wide = first if index == 0 else 1, cin * expand
            y = x if expand == 1 else net.clip6(net.conv(x, cin, wide, 1))
            y = net.conv(net.clip6(net.conv(y, wide, wide, 3, stride, wide)), wide, cout, 1)
            x = net.node("Add", [x, y]) if stride == 1 and cin == cout else y
            cin = cout
    return net.model("mobilenet_v2", net.classifier(net.clip6(net.conv(x, cin, 1280, 1)), 1280))


def resnet50(seed: int = 0) -> ModelProto:
    """ResNet-50 with the stride in the 3x3 Conv (He et al. 2016, table 1): 53 Conv, 49 Relu, 16 Add, 1 Gemm."""
    net = _Writer(seed)
    x = net.node("Relu", [net.conv(INPUT, 3, 64, 7, 2)])
    x, cin = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 64
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            stride = first if index == 0 else 1
            y = net.node("Relu", [net.conv(x, cin, width, 1)])
            y = net.conv(net.node("Relu", [net.conv(y, width, width, 3, stride)]), width, 4 * width, 1)
            skip = net.conv(x, cin, 4 * width, 1, stride) if index == 0 else x
            x, cin = net.node("Relu", [net.node("Add", [y, skip])]), 4 * width
    return net.model("resnet50", net.classifier(x, cin))
