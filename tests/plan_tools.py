"""Small graphs and recipes for tests of the plan."""

from __future__ import annotations

from structure_graphs import Net, backbone

from qdsl.diag import Diagnostics
from qdsl.graph.view import GraphView
from qdsl.lang import loads
from qdsl.plan import Decisions, decide
from qdsl.spec.plan import NodePlan, Plan, Reader, TensorPlan, WeightPlan

HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz" { take 4 }
quantize static {
  weights int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate minmax on calib
}
target ort

"""


def decided(
    view: GraphView, rules: str = "", *, head: str = HEAD, target: str = "ort", float_bytes: int = 100_000
) -> Decisions:
    """The plan of a recipe made of `head` and `rules`, and what it was decided from."""
    recipe = loads(head + rules, name="demo.q").recipe
    return decide(recipe, view, target, float_bytes=float_bytes, diags=Diagnostics())


def planned(view: GraphView, rules: str = "", *, head: str = HEAD, target: str = "ort") -> Plan:
    return decided(view, rules, head=head, target=target).plan


def two_convs() -> GraphView:
    """x -> conv1 -> relu -> conv2 -> sub -> output."""
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, kernel=3, name="conv1")
    x = net.conv(net.op("Relu", x, name="relu"), 4, name="conv2")
    return net.view(net.op("Sub", x, net.constant(1), name="sub"))


def residual() -> GraphView:
    """conv1 -> relu1 -> conv2 -> add(+ relu1) -> relu2 -> pool -> conv3 -> output."""
    net = Net()
    skip = net.op("Relu", net.conv(net.input("x", 1, 3, 8, 8), 4, kernel=3, name="conv1"), name="relu1")
    y = net.conv(skip, 4, kernel=3, name="conv2")
    y = net.op("Relu", net.op("Add", y, skip, name="add"), name="relu2")
    y = net.op("MaxPool", y, name="pool", kernel_shape=[2, 2], strides=[2, 2])
    return net.view(net.conv(y, 4, name="conv3"))


def branches() -> GraphView:
    """Two SiLU branches joined by a Concat, resized, and a Gemm classifier."""
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, name="stem")
    left = net.conv(x, 4, name="left")
    left = net.op("Mul", left, net.op("Sigmoid", left, name="left_sigmoid"), name="left_mul")
    right = net.op("Tanh", net.conv(x, 4, name="right"), name="right_tanh")
    y = net.op("Concat", left, right, name="concat", axis=1)
    y = net.op("Flatten", net.op("GlobalAveragePool", y, name="average"), name="flatten")
    return net.view(net.op("Gemm", y, net.constant(8, 5), net.constant(5), name="gemm"))


def detector() -> GraphView:
    """Per level a box and a score convolution; the decoding ends in one Concat of both."""
    net = Net()
    boxes, scores = [], []
    for x, size in zip(backbone(net), (32, 16, 8), strict=True):
        boxes.append(net.op("Reshape", net.conv(x, 4), net.values([1, 4, size * size])))
        scores.append(net.op("Reshape", net.conv(x, 3), net.values([1, 3, size * size])))
    box = net.op("Mul", net.op("Concat", *boxes, axis=2), net.values([8.0]))
    score = net.op("Sigmoid", net.op("Concat", *scores, axis=2))
    return net.view(net.op("Concat", box, score, axis=1, name="detections"))


def quantized() -> GraphView:
    """A Conv behind QuantizeLinear and DequantizeLinear."""
    net = Net()
    scale = net.values([0.5])
    zero = net.constant(dtype="uint8")
    x = net.op("QuantizeLinear", net.input("x", 1, 3, 8, 8), scale, zero, name="quantize")
    x = net.op("DequantizeLinear", x, scale, zero, name="dequantize")
    return net.view(net.conv(x, 4, name="conv", inside=3))


def tensors(plan: Plan) -> dict[str, TensorPlan]:
    return {one.tensor: one for one in plan.tensors}


def weights(plan: Plan) -> dict[str, WeightPlan]:
    return {one.node: one for one in plan.weights}


def nodes(plan: Plan) -> dict[str, NodePlan]:
    return {one.node: one for one in plan.nodes}


def readers(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Who reads each quantized tensor through DQ: `node:port`, or `output`."""
    return {one.tensor: tuple(map(_reader, one.readers)) for one in plan.tensors}


def _reader(reader: Reader) -> str:
    return f"{reader.node}:{reader.port}" if reader.node else "output"
