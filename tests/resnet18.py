"""ResNet-18 (He et al. 2016) with its BatchNormalization folded: 20 Conv and a classifier, of random weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

# Two blocks of two convolutions each: name, channels by the width, stride of the first.
STAGES = (("layer1", 1, 1), ("layer2", 2, 2), ("layer3", 4, 2), ("layer4", 8, 2))


class _Net:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._draw = np.random.default_rng(0)

    def conv(self, x: str, name: str, inside: int, outside: int, kernel: int, stride: int) -> str:
        shape = (outside, inside, kernel, kernel)
        weight = self._draw.normal(0, (2 / (inside * kernel * kernel)) ** 0.5, shape).astype(np.float32)
        constants = {f"{name}.weight": weight, f"{name}.bias": np.zeros(outside, np.float32)}
        self.constants += [numpy_helper.from_array(value, key) for key, value in constants.items()]
        pads, strides = [kernel // 2] * 4, [stride] * 2
        return self.op("Conv", [x, *constants], name, kernel_shape=[kernel] * 2, pads=pads, strides=strides)

    def op(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def block(self, x: str, name: str, inside: int, outside: int, stride: int) -> str:
        y = self.op("Relu", [self.conv(x, f"{name}.conv1", inside, outside, 3, stride)], f"{name}.relu1")
        y = self.conv(y, f"{name}.conv2", outside, outside, 3, 1)
        if stride > 1:
            x = self.conv(x, f"{name}.downsample.0", inside, outside, 1, stride)
        return self.op("Relu", [self.op("Add", [y, x], f"{name}.add")], f"{name}.relu2")


def resnet18(size: int = 64, width: int = 8) -> ModelProto:
    """The network for `size` x `size` pictures, the same every time; `width` is 64 in the paper."""
    net = _Net()
    x = net.op("Relu", [net.conv("x", "conv1", 3, width, 7, 2)], "relu")
    x = net.op("MaxPool", [x], "maxpool", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
    inside = width
    for name, times, stride in STAGES:
        x = net.block(x, f"{name}.0", inside, times * width, stride)
        x = net.block(x, f"{name}.1", times * width, times * width, 1)
        inside = times * width
    x = net.op("Flatten", [net.op("GlobalAveragePool", [x], "avgpool")], "flatten")
    weight = numpy_helper.from_array(np.full((10, inside), 0.01, np.float32), "fc.weight")
    net.constants += [weight, numpy_helper.from_array(np.zeros(10, np.float32), "fc.bias")]
    net.nodes.append(helper.make_node("Gemm", [x, "fc.weight", "fc.bias"], ["y"], name="fc", transB=1))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, size, size])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(net.nodes, "resnet18", [given], [made], net.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
