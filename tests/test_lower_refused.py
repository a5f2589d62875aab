"""What has no form in an integer graph is refused, with the node, its operator and a reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from integer_random import randomly_placed
from lower_nets import Small
from model_fuzz import CHANGES
from onnx import TensorProto, helper
from seeds import few_of

from qdsl.diag import QdslError
from qdsl.integer.lower import lower
from qdsl.integer.lower_errors import LoweringError


def refusal(proto: onnx.ModelProto, io: bool = False) -> LoweringError:
    with pytest.raises(LoweringError) as found:
        lower(proto, "small", "int8" if io else None)
    return found.value


def small(make: Callable[[Small], str], *shape: int | str, opset: int = 17) -> onnx.ModelProto:
    net = Small(*(shape or (1, 4, 6, 6)), opset=opset)
    return net.proto(make(net))


NODES: dict[str, tuple[Callable[[Small], str], str, str]] = {
    "an operator": (lambda n: n.op("LRN", "x", size=3), "LRN", "no kernel of this operator here"),
    "a domain": (
        lambda n: n.op("QuickGelu", "x", domain="com.microsoft"),
        "QuickGelu",
        "operators of `com.microsoft` have no kernel here",
    ),
    "weights with zero points": (
        lambda n: n.op("Conv", n.pair("x"), n.weight(2, 4, 1, 1, zero=7, dtype=np.uint8)),
        "Conv",
        "its weights less their zero point span -",
    ),
    "computed weights": (lambda n: n.op("Conv", n.pair("x"), n.pair("x")), "Conv", "its weight is computed"),
    "two computed matrices": (lambda n: n.op("MatMul", n.pair("x"), n.pair("x")), "MatMul", "its weight is computed"),
    "scales along other axes": (
        lambda n: n.op("Conv", n.pair("x"), n.weight(2, 4, 1, 1, scale=[0.1, 0.2, 0.3, 0.4], axis=1)),
        "Conv",
        "its weights have a scale per place of axis 1",
    ),
    "activations per channel": (
        lambda n: n.pair("x", [0.1, 0.2, 0.3, 0.4], [0] * 4),
        "QuantizeLinear",
        "activations with a scale per channel",
    ),
    "a scale that is no scale": (lambda n: n.pair("x", -0.5), "QuantizeLinear", "its scale is not above 0"),
    "16 bits": (lambda n: n.pair("x", 0.1, 0, np.int16), "QuantizeLinear", "int16 activations have no kernel here"),
    "linear Resize": (
        lambda n: n.op("Resize", "x", "", n.constant([1, 1, 2, 2]), mode="linear"),
        "Resize",
        "only nearest has a kernel here",
    ),
    "mirrored padding": (
        lambda n: n.op("Pad", "x", n.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="reflect"),
        "Pad",
        "only constant padding has a kernel here",
    ),
    "going backwards": (
        lambda n: n.op("Slice", "x", *(n.constant([v], np.int64) for v in (5, -9, 2, -1))),
        "Slice",
        "it goes backwards",
    ),
    "means over other axes": (
        lambda n: n.op("ReduceMean", "x", axes=[1]),
        "ReduceMean",
        "only the mean over all but one axis",
    ),
    "sums that pass int32": (
        lambda n: n.pair(n.op("Conv", n.pair("x"), n.weight(2, 4, 1, 1), n.constant([0.0, 1.1e6]))),
        "Conv",
        "its sums may reach 2147",
    ),
    "places of maxima": (
        lambda n: n.op("Cast", n.op("MaxPool", "x", kernel_shape=[2, 2], outputs=2) + "_1", to=1),
        "MaxPool",
        "its second output",
    ),
    "a factor of Gemm": (
        lambda n: n.op("Gemm", n.op("Flatten", "x"), n.normal(144, 3), alpha=0.5),
        "Gemm",
        "its factors alpha 0.5 and beta 1.0 are not 1",
    ),
}


@pytest.mark.parametrize("case", NODES)
def test_a_node_without_a_form_is_told(case: str) -> None:
    make, operator, reason = NODES[case]
    proto = small(make, opset=21 if case == "16 bits" else 17)
    error = refusal(proto)
    assert error.operator == operator and error.node in {node.name for node in proto.graph.node}
    assert error.reason.startswith(reason)
    assert f"`{error.node}` ({operator}): {reason}" in str(error)


@pytest.mark.parametrize("read", ["Transpose", "output"])
def test_a_bias_of_another_length_is_told_where_it_shows(read: str) -> None:
    net = Small(1, 4, 6, 6)
    y = net.op("Conv", net.pair("x"), net.weight(8, 4, 1, 1), net.normal(3))
    error = refusal(net.proto(y if read == "output" else net.op("Transpose", y, perm=[0, 2, 3, 1])))
    assert error.reason.startswith("what it reads, writes and says of itself does not fit")
    assert error.operator == ("Conv" if read == "output" else "Transpose")


def test_volumes_are_refused() -> None:
    proto = small(lambda n: n.op("Conv", n.pair("x"), n.weight(2, 4, 3, 3, 3)), 1, 4, 6, 6, 6)
    assert refusal(proto).reason.startswith("its kernels have 5 axes")
    proto = small(lambda n: n.op("MaxPool", n.pair("x"), kernel_shape=[2, 2, 2]), 1, 4, 6, 6, 6)
    assert refusal(proto).reason.startswith("its input has 5 axes")


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((2, 4, 6, 6), "a batch of 2"),
        ((1, 4, "height", 6), "its shape [1, 4, 'height', 6] is not fixed"),
        (("length",), "its shape ['length'] is not fixed"),
    ],
)
def test_inputs_that_are_not_one_sample_of_a_known_size_are_refused(shape: tuple[int | str, ...], reason: str) -> None:
    error = refusal(small(lambda n: n.op("Relu", "x"), *shape))
    assert error.node == "" and error.operator == "input `x`" and error.reason.startswith(reason)


def test_inputs_of_other_types_are_refused() -> None:
    net = Small(1, 4, kind=TensorProto.INT64)
    proto = net.proto(net.op("Cast", "x", to=TensorProto.FLOAT))
    assert refusal(proto).reason == "it is int64: float32, int8 and uint8 have kernels here"


def test_graphs_inside_a_node_are_refused() -> None:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["inside"])], "b", [], [helper.make_tensor_value_info("inside", 1, [1, 4])]
    )
    net = Small(1, 4)
    proto = net.proto(net.op("If", net.constant(True, np.bool_), then_branch=branch, else_branch=branch))
    assert refusal(proto).reason.startswith("it holds graphs that run on a condition")


@pytest.mark.parametrize("reader", ["Relu", "nothing", "two scales"])
def test_an_input_that_is_read_in_floats_cannot_be_integers(reader: str) -> None:
    net = Small(1, 4)
    outputs = {
        "Relu": lambda: [net.op("Relu", "x")],
        "nothing": lambda: [net.op("Identity", net.pair("x")), "x"],
        "two scales": lambda: [net.pair("x", 0.1), net.pair("x", 0.2)],
    }[reader]()
    error = refusal(net.proto(*outputs), io=True)
    assert error.operator == "input `x`" and error.reason.startswith("it cannot be int8: it is read by")


@pytest.mark.parametrize("first", few_of(range(0, 2000, 40), 1))
def test_graphs_that_were_damaged_are_lowered_or_refused(first: int) -> None:
    """Links, shapes, attributes, types and operators changed at will: never another exception."""
    whole = [proto for proto in map(randomly_placed, range(first % 40, first % 40 + 8)) if proto is not None]
    refused = 0
    for turn in range(first, first + 40):
        rng, proto = random.Random(turn), onnx.ModelProto()
        proto.CopyFrom(rng.choice(whole))
        for _ in range(rng.randint(1, 3)):
            rng.choice(CHANGES)(rng, proto.graph)
        try:
            lower(proto, "damaged")
        except QdslError:
            continue
        except LoweringError as error:
            refused += 1
            assert error.reason
    assert refused > 3


def test_the_odd_corpus_is_lowered_or_refused(testdata: Path) -> None:
    """Never another exception, never an empty reason."""
    lowered, refused = 0, 0
    for file in sorted((testdata / "odd").rglob("*.onnx")):
        proto = onnx.load(file, load_external_data=False)
        try:
            lower(proto, file.stem)
            lowered += 1
        except QdslError as error:
            assert error.diagnostics
        except LoweringError as error:
            assert error.operator and len(error.reason) > 5
            refused += 1
    assert lowered >= 15 and refused >= 60, (lowered, refused)
