"""Whole networks as integer graphs: what the interpreter makes of them is what ONNX Runtime's fused kernels answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from integer_models import Net, Target, crack_model, crack_pictures, fused, interpreted
from saturation import has_vnni

from qdsl.integer.lower import lower
from qdsl.integer.records import IntegerGraph


def kinds(graph: IntegerGraph) -> Counter[str]:
    return Counter(type(op).__name__ for op in graph.ops)


CRACKS = {
    ("v1", "static"): {"Quantize": 1, "Conv": 27, "AveragePool": 1, "Reshape": 1, "Dense": 1, "Dequantize": 1},
    ("v2", "static"): {"Quantize": 1, "Conv": 52, "Binary": 10, "AveragePool": 1, "Reshape": 1, "Dense": 1},
    ("v1", "dynamic"): {"DynamicQuantize": 28, "Conv": 27, "AveragePool": 1, "Reshape": 1, "Dense": 1},
    ("v2", "dynamic"): {"DynamicQuantize": 53, "Conv": 52, "Binary": 10, "AveragePool": 1, "Reshape": 1, "Dense": 1},
}


SLOW = pytest.mark.slow


def check(net: Net, target: Target, count: int) -> None:
    if target == "ort" and not has_vnni():
        pytest.skip("without VNNI the runtime's products of uint8 and int8 saturate")
    proto = crack_model(net, target=target)
    graph = lower(proto, net)
    assert kinds(graph) == CRACKS[net, "static"]
    for picture in crack_pictures(count, net):
        want, got = fused(proto, {"images": picture}), interpreted(graph, {"images": picture})
        assert np.array_equal(got["logits"], want["logits"])


@pytest.mark.parametrize("net", ["v1", pytest.param("v2", marks=SLOW)])
def test_static_classifiers_answer_what_fused_kernels_answer(net: Net) -> None:
    check(net, "ort", 2)


@SLOW
@pytest.mark.parametrize(("net", "target"), [("v1", "ort"), ("v1", "stm32"), ("v2", "ort")])
def test_a_hundred_pictures(net: Net, target: Target) -> None:
    """For a microcontroller it is int8 throughout, which every CPU adds exactly."""
    check(net, target, 100)


@pytest.mark.parametrize("net", ["v1", pytest.param("v2", marks=SLOW)])
def test_dynamic_classifiers_answer_the_same_within_the_rounding_of_float32(net: Net) -> None:
    proto = crack_model(net, "dynamic")
    graph = lower(proto, net)
    assert kinds(graph) == CRACKS[net, "dynamic"]
    (picture,) = crack_pictures(1, net)
    want, got = fused(proto, {"images": picture})["logits"], interpreted(graph, {"images": picture})["logits"]
    assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()
