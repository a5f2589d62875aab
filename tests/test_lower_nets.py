"""Whole networks as integer graphs: what the interpreter makes of them is what ONNX Runtime's fused kernels answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from integer_models import ROOT, Net, Target, crack_model, crack_pictures, fused, interpreted
from integer_random import planned, some_feeds
from numpy.typing import NDArray
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


@pytest.mark.slow
@pytest.mark.parametrize("net", ["v1", pytest.param("v2", marks=SLOW)])
def test_static_classifiers_answer_what_fused_kernels_answer(net: Net) -> None:
    check(net, "ort", 2)


@SLOW
@pytest.mark.parametrize(("net", "target"), [("v1", "ort"), ("v1", "stm32"), ("v2", "ort")])
def test_a_hundred_pictures(net: Net, target: Target) -> None:
    """For a microcontroller it is int8 throughout, which every CPU adds exactly."""
    check(net, target, 100)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["v1", pytest.param("v2", marks=SLOW)])
def test_dynamic_classifiers_answer_the_same_within_the_rounding_of_float32(net: Net) -> None:
    proto = crack_model(net, "dynamic")
    graph = lower(proto, net)
    assert kinds(graph) == CRACKS[net, "dynamic"]
    (picture,) = crack_pictures(1, net)
    want, got = fused(proto, {"images": picture})["logits"], interpreted(graph, {"images": picture})["logits"]
    assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()


# --- networks of others ----------------------------------------------------------------------------------------------

# Files with integers: as they are. Float ones: as target `ort` quantizes them. All their outputs are equal.
STORED = ("mlperf_vww_96_int8_qdq", "mlperf_pretrainedResnet_quant_qdq")
FLOATS = ("mlperf_vww_96_float", "mlperf_resnet8_float", "mobilenet_v1_0.25_224_imagenet_float", "FastestDet")
LARGE = ("yolox_nano",)


def some_pictures(proto: onnx.ModelProto, seed: int) -> dict[str, NDArray[Any]]:
    """Feeds of which neighbours are alike, as in pictures: random walks over floats."""
    feeds = some_feeds(proto, seed)
    floats = {name: each for name, each in feeds.items() if each.dtype == np.float32}
    walks = {name: np.cumsum(np.cumsum(each, -1), -2) * 0.05 for name, each in floats.items()}
    return feeds | {name: np.clip(walk, -1, 1).astype(np.float32) for name, walk in walks.items()}


@pytest.mark.parametrize("name", [STORED[0], *(pytest.param(name, marks=SLOW) for name in STORED[1:])])
def test_quantized_networks_answer_what_fused_kernels_answer(testdata: Path, name: str) -> None:
    proto = onnx.load(testdata / "models" / f"{name}.onnx")
    graph = lower(proto, name)
    assert not {"Quantize", "Dequantize", "Transpose"} & set(kinds(graph))
    for seed in range(4):
        feeds = some_feeds(proto, seed)
        want, got = fused(proto, feeds), interpreted(graph, feeds)
        assert all(np.array_equal(got[key], want[key]) for key in want)


@SLOW
@pytest.mark.parametrize("name", [*FLOATS, *LARGE])
def test_networks_that_are_quantized_here_answer_what_fused_kernels_answer(testdata: Path, name: str) -> None:
    model = onnx.load(testdata / "models" / f"{name}.onnx")
    proto = planned(model, some_pictures(model, 0))
    graph = lower(proto, name)
    assert not {"FloatConv", "FloatDense", "Transpose"} & set(kinds(graph))
    feeds = some_pictures(proto, 1)
    want, got = fused(proto, feeds), interpreted(graph, feeds)
    assert all(np.array_equal(got[key], want[key]) for key in want)


@SLOW
@pytest.mark.parametrize("name", [*FLOATS, *LARGE, "mlperf_kws_float"])
def test_float_networks_answer_the_same_within_the_rounding_of_float32(testdata: Path, name: str) -> None:
    proto = onnx.load(testdata / "models" / f"{name}.onnx")
    feeds = some_pictures(proto, 0)
    want, got = fused(proto, feeds), interpreted(lower(proto, name), feeds)
    assert all(np.abs(got[key] - want[key]).max() <= 1e-4 * np.abs(want[key]).max() for key in want)


@SLOW
@pytest.mark.skipif(not has_vnni(), reason="without VNNI the runtime's products of uint8 and int8 saturate")
@pytest.mark.parametrize("per_channel", [False, True])
def test_what_onnx_runtime_quantizes_dynamically_answers_the_same(per_channel: bool, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: TID251

    source, target = ROOT / "examples/cracks/mobilenet_v1_025.onnx", tmp_path / "dynamic.onnx"
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=per_channel)
    proto = onnx.load(target)
    graph = lower(proto, "v1")
    assert kinds(graph)["DynamicQuantize"] == 28 and kinds(graph)["Conv"] == 27 and kinds(graph)["Dense"] == 1
    (picture,) = crack_pictures(1)
    want, got = fused(proto, {"images": picture})["logits"], interpreted(graph, {"images": picture})["logits"]
    assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()
