"""Structural predicates on small graphs built here, each in the forms that exporters write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from structure_graphs import Net

from qdsl.graph import structure
from qdsl.graph.view import GraphView


def names(view: GraphView, found: frozenset[int]) -> list[str]:
    return [view.nodes[index].name for index in sorted(found)]


def test_depthwise_has_one_group_per_channel_and_more_than_one_channel() -> None:
    net = Net()
    x = net.input("x", 1, 8, 6, 6)
    x = net.conv(x, 8, kernel=3, group=8, name="depthwise")
    x = net.conv(x, 16, kernel=3, group=8, name="with multiplier")
    x = net.conv(x, 8, kernel=3, group=2, name="grouped")
    x = net.conv(x, 1, name="to one")
    view = net.view(net.conv(x, 1, kernel=3, name="one channel"))
    assert names(view, structure.depthwise(view)) == ["depthwise", "with multiplier"]


def test_pointwise_has_a_kernel_of_one_and_one_group() -> None:
    net = Net()
    x = net.input("x", 1, 8, 6, 6)
    x = net.conv(x, 16, name="plain")
    x = net.conv(x, 16, stride=2, name="strided")
    x = net.conv(x, 16, group=2, name="grouped")
    view = net.view(net.conv(x, 8, kernel=3, name="3x3"))
    assert names(view, structure.pointwise(view)) == ["plain", "strided"]


def test_channels_of_matrices_and_transposed_convolutions() -> None:
    net = Net()
    x = net.input("x", 1, 8, 6, 6)
    x = net.op("ConvTranspose", x, net.constant(8, 3, 2, 2), name="up", group=2, strides=[2, 2])
    x = net.op("Flatten", x, name="flat")
    x = net.op("Gemm", x, net.constant(5, 864), name="gemm", transB=1)
    view = net.view(net.op("MatMul", x, net.constant(5, 4), name="matmul"))
    facts = {view.nodes[i].name: w for i, w in structure.weighted(view).items()}
    assert (facts["up"].in_channels, facts["up"].out_channels, facts["up"].groups) == (8, 6, 2)
    assert (facts["up"].kernel, facts["up"].stride) == ((2, 2), (2, 2))
    assert (facts["gemm"].in_channels, facts["gemm"].out_channels, facts["gemm"].kernel) == (864, 5, None)
    assert (facts["matmul"].in_channels, facts["matmul"].out_channels) == (5, 4)


def test_a_weight_behind_dequantize_linear_is_a_weight() -> None:
    net = Net()
    x = net.input("x", 1, 4)
    scale = net.values([0.5])
    weight = net.op("DequantizeLinear", net.constant(4, 3, dtype="int8"), scale, name="dq")
    view = net.view(net.op("MatMul", x, weight, name="matmul"))
    assert [view.nodes[i].name for i in structure.weighted(view)] == ["matmul"]


def test_silu_is_the_sigmoid_and_the_product_but_no_gate() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 4, 6, 6), 4)
    s = net.op("Sigmoid", x, name="sigmoid")
    y = net.op("Mul", s, x, name="product")
    g = net.op("Sigmoid", net.op("GlobalAveragePool", y, name="pool"), name="gate")
    view = net.view(net.op("Mul", y, g, name="gated"))
    assert names(view, structure.silu(view)) == ["sigmoid", "product"]
    assert names(view, structure.activation(view)) == ["sigmoid", "product", "gate"]


ERF = 2**-0.5


def erf_halved_last(net: Net, x: str) -> str:
    y = net.op("Add", net.op("Erf", net.op("Div", x, net.values([2**0.5]))), net.values([1.0]))
    return net.op("Mul", net.op("Mul", x, y), net.values([0.5]))


def erf_halved_first(net: Net, x: str) -> str:
    y = net.op("Add", net.values([1.0]), net.op("Erf", net.op("Mul", net.values([ERF]), x)))
    return net.op("Mul", net.op("Mul", x, net.values([0.5])), y)


def erf_halved_between(net: Net, x: str) -> str:
    y = net.op("Add", net.op("Erf", net.op("Mul", x, net.values([ERF]))), net.values([1.0]))
    return net.op("Mul", x, net.op("Mul", y, net.values([0.5])))


def tanh_by_power(net: Net, x: str) -> str:
    cube = net.op("Mul", net.op("Pow", x, net.values([3.0])), net.values([0.044715]))
    inner = net.op("Mul", net.op("Add", x, cube), net.values([0.7978846]))
    y = net.op("Add", net.op("Tanh", inner), net.values([1.0]))
    return net.op("Mul", net.op("Mul", x, net.values([0.5])), y)


def tanh_by_products(net: Net, x: str) -> str:
    square = net.op("Mul", x, x)
    inner = net.op("Mul", x, net.op("Add", net.op("Mul", square, net.values([0.0356])), net.values([0.797])))
    y = net.op("Add", net.op("Tanh", inner), net.values([1.0]))
    return net.op("Mul", net.op("Mul", x, y), net.values([0.5]))


@pytest.mark.parametrize(
    ("form", "count"),
    [
        (erf_halved_last, 5),
        (erf_halved_first, 5),
        (erf_halved_between, 5),
        (tanh_by_power, 8),
        (tanh_by_products, 8),
    ],
)
def test_gelu_is_every_node_of_its_formula(form: Callable[[Net, str], str], count: int) -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 4, 6, 6), 4, name="before")
    view = net.view(net.conv(form(net, x), 4, name="after"))
    assert len(structure.gelu(view)) == count == len(view.nodes) - 2
    assert structure.gelu(view) <= structure.activation(view)


def test_a_tanh_gate_is_no_gelu() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 4, 6, 6), 4)
    y = net.op("Add", net.op("Tanh", net.op("Mul", x, net.values([0.5]))), net.values([1.0]))
    view = net.view(net.op("Mul", net.op("Mul", x, y), net.values([0.5])))
    assert structure.gelu(view) == frozenset()


@pytest.mark.parametrize("divide_first", [False, True])
def test_hard_swish_spelled_out_is_an_activation(divide_first: bool) -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 4, 6, 6), 4, name="before")
    y = net.op("Add", x, net.values([3.0]), name="shift")
    y = net.op("Clip", y, net.values([0.0]), net.values([6.0]), name="clip")
    if divide_first:
        y = net.op("Mul", x, net.op("Div", y, net.values([6.0]), name="sixth"), name="product")
    else:
        y = net.op("Div", net.op("Mul", x, y, name="product"), net.values([6.0]), name="sixth")
    view = net.view(net.conv(y, 4, name="after"))
    assert set(names(view, structure.activation(view))) == {"shift", "clip", "product", "sixth"}


@pytest.mark.parametrize(("op", "yes"), [("HardSwish", True), ("PRelu", True), ("Softmax", False), ("Add", False)])
def test_single_operators_that_are_activations(op: str, yes: bool) -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 4, 6, 6), 4)
    extra = [net.values([1.0])] if op in {"PRelu", "Add"} else []
    view = net.view(net.op(op, x, *extra, name="it"))
    assert names(view, structure.activation(view)) == (["it"] if yes else [])


def layer_norm(net: Net, x: str, square: str = "Pow", last: str = "Div") -> str:
    d = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
    squared = net.op("Pow", d, net.values([2.0])) if square == "Pow" else net.op("Mul", d, d)
    root = net.op("Sqrt", net.op("Add", net.op("ReduceMean", squared, axes=[-1]), net.values([1e-5])))
    y = net.op("Div", d, root) if last == "Div" else net.op("Mul", d, net.op("Reciprocal", root))
    return net.op("Add", net.op("Mul", y, net.constant(8)), net.constant(8))


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("last", ["Div", "Reciprocal"])
def test_layer_norm_spelled_out_is_found_whole(square: str, last: str) -> None:
    net = Net()
    x = net.op("MatMul", net.input("x", 1, 5, 8), net.constant(8, 8), name="before")
    y = layer_norm(net, x, square, last)
    y = net.op("MatMul", y, net.constant(8, 8), name="product")
    view = net.view(net.op("Add", x, y, name="residual"))
    outside = {node.name for node in view.nodes} - set(names(view, structure.layer_norm(view)))
    assert outside == {"before", "product", "residual"}


def test_root_mean_square_normalisation_is_no_layer_norm() -> None:
    net = Net()
    x = net.op("MatMul", net.input("x", 1, 5, 8), net.constant(8, 8))
    mean = net.op("ReduceMean", net.op("Pow", x, net.values([2.0])), axes=[-1])
    view = net.view(net.op("Div", x, net.op("Sqrt", net.op("Add", mean, net.values([1e-5])))))
    assert structure.layer_norm(view) == frozenset()


def test_the_layer_norm_operator() -> None:
    net = Net()
    x = net.input("x", 1, 5, 8)
    view = net.view(net.op("LayerNormalization", x, net.constant(8), name="norm", axis=-1))
    assert names(view, structure.layer_norm(view)) == ["norm"]


def test_residual_skip_is_the_shorter_way_at_either_port() -> None:
    net = Net()
    x = net.op("Relu", net.conv(net.input("x", 1, 8, 6, 6), 8))
    y = net.conv(net.op("Relu", net.conv(x, 8)), 8)
    x = net.op("Add", x, y, name="skip first")
    y = net.conv(net.op("Relu", net.conv(x, 8)), 8)
    view = net.view(net.op("Add", y, x, name="skip last"))
    found = {view.nodes[i].name: port for i, port in structure.residual_skips(view).items()}
    assert found == {"skip first": 0, "skip last": 1}


def test_residual_with_a_downsampling_convolution_skips_over_it() -> None:
    net = Net()
    x = net.op("Relu", net.conv(net.input("x", 1, 8, 8, 8), 8))
    y = net.conv(net.op("Relu", net.conv(x, 16, kernel=3, stride=2)), 16, kernel=3)
    view = net.view(net.op("Add", y, net.conv(x, 16, stride=2), name="add"))
    assert structure.residual_skips(view) == {view.node("add").index: 1}


def test_two_equal_ways_the_smaller_kernel_is_the_skip() -> None:
    net = Net()
    x = net.op("Relu", net.conv(net.input("x", 1, 8, 8, 8), 8))
    view = net.view(net.op("Add", net.conv(x, 8), net.conv(x, 8, kernel=3), name="add"))
    assert structure.residual_skips(view) == {view.node("add").index: 0}


def test_residual_over_squeeze_and_excitation_and_attention() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 8, 6, 6), 8, name="stem")
    y = net.conv(x, 8, name="main")
    gate = net.op("Sigmoid", net.conv(net.op("GlobalAveragePool", y), 8, name="excite"))
    x = net.op("Add", x, net.op("Mul", y, gate), name="gated")
    t = net.op("Transpose", net.op("Reshape", x, net.values([1, 8, 36])), perm=[0, 2, 1])
    q, k, v = (net.op("MatMul", t, net.constant(8, 8)) for _ in range(3))
    scores = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1])))
    out = net.op("MatMul", net.op("MatMul", scores, v), net.constant(8, 8))
    view = net.view(net.op("Add", out, t, name="attended"))
    found = {view.nodes[i].name: port for i, port in structure.residual_skips(view).items()}
    assert found == {"gated": 0, "attended": 1}


def test_adds_that_are_no_residual() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 8, 8, 8), 8)
    bias = net.op("Add", net.conv(x, 8), net.constant(1, 8, 1, 1), name="bias")
    deep = net.conv(net.op("Relu", net.conv(bias, 8, kernel=3, stride=2)), 8)
    lateral = net.op("Resize", net.conv(deep, 8), "", net.values([1.0, 1.0, 2.0, 2.0]))
    merged = net.op("Add", net.conv(bias, 8), lateral, name="pyramid")
    twice = net.op("Add", merged, merged, name="twice")
    pooled = net.op("GlobalAveragePool", net.conv(twice, 8))
    broadcast = net.op("Add", twice, pooled, name="broadcast")
    other = net.conv(net.input("y", 1, 8, 8, 8), 8)
    view = net.view(net.op("Add", broadcast, other, name="two inputs"))
    assert structure.residual_skips(view) == {}


@pytest.mark.slow
def test_predicates_take_a_long_chain_without_recursion() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 4, 4, 4), 4)
    for _ in range(1100):
        x = net.op("Add", x, net.conv(net.op("Relu", x), 4))
    view = net.view(x)
    assert len(structure.residual_skips(view)) == 1100
    assert structure.decode_head(view) == frozenset()
    assert set(structure.residual_skips(view).values()) == {0}
