"""What the rules of placement say of whole files: of other tools, of onnxruntime's quantizer, and of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from audit_tools import audited, found, named
from compile_tools import HEAD, ROOT, project, residual_net

import qdsl
from qdsl.auditing.finding import Finding
from qdsl.auditing.index import rule_named
from qdsl.diag import Severity
from qdsl.graph import load

CORPUS = ROOT.parent / "shared" / "testdata" / "audit_corpus"
PLACEMENT = (
    "foreign_quantizer",
    "unread_operator",
    "dangling_quantizer",
    "dangling_dequantizer",
    "doubled_pair",
    "redundant_pair",
    "half_quantized_op",
    "residual_not_quantized",
    "float_consumer",
    "quantized_twice",
    "output_not_quantized",
    "activation_not_fused",
    "float16_scales",
    "signed_fan_out",
    "float_weights_left",
    "stored_wide",
    "island",
    "pair_at_graph_edge",
)
_SYMMETRIC = {("activation_not_fused", "conv1"), ("activation_not_fused", "conv2")}
_MIDDLE = {*_SYMMETRIC, ("activation_not_fused", "add1")}
_EDGES = {("pair_at_graph_edge", "x"), ("pair_at_graph_edge", "c")}
# What is told of files of other tools, and why that is fair.
VERDICTS: dict[str, dict[str, set[tuple[str, str]]]] = {
    # float weights stay in front of their pairs, as these tools simulate them: a note
    "aimet": {"ort": {("stored_wide", "conv1")}, "tensorrt": {("stored_wide", "conv1")}},
    # int8 in and uint8 out, under zero points that are shared, is not turned into one type
    # nor is the mean quantized that the last layer multiplies
    "brevitas_qcdq": {
        "ort": {("stored_wide", "node_conv2d"), ("island", "node_conv2d"), ("half_quantized_op", "node_linear")},
        "tensorrt": {("stored_wide", "node_conv2d"), ("half_quantized_op", "node_linear")},
    },
    # no runtime has `Quant`
    "brevitas_qonnx": {
        "ort": {("foreign_quantizer", "node__symbolic")},
        "tensorrt": {("foreign_quantizer", "node__symbolic")},
    },
    # made for TensorRT: float16 all over, or symmetric scales behind a Relu and a bare branch of the addition
    "modelopt": {
        "ort": {("float16_scales", "conv1"), ("stored_wide", "conv1")},
        "tensorrt": {("stored_wide", "conv1")},
    },
    "modelopt_fp32": {
        "ort": {
            *_SYMMETRIC,
            ("residual_not_quantized", "add1"),
            ("stored_wide", "conv1"),
            ("float_weights_left", "fc"),
        },
        "tensorrt": {("stored_wide", "conv1"), ("float_weights_left", "fc")},
    },
    # the pair stands before a Flatten, past which TensorRT carries it and ONNX Runtime does not
    "nncf": {"ort": {("half_quantized_op", "fc")}, "tensorrt": set()},
    # zero point 128 behind a Relu; biases of 8 bits, other scales around a Flatten
    "quark": {"ort": {*_MIDDLE, *(("island", name) for name in ("conv3", "flat", "fc"))}, "tensorrt": set()},
    "quark_msdomain": {"ort": _MIDDLE, "tensorrt": set()},
    # integers in and out, as TFLite has them
    # the Conv reads the int8 that comes in, of which onnxruntime makes no uint8
    "tf2onnx_int8": {"ort": {*_EDGES, ("signed_fan_out", "c_prequant__22_DequantizeLinear__27:0")}, "tensorrt": _EDGES},
    # the mean of a Relu is computed in floats before it is quantized, and a float bias asks for a Q behind the Gemm
    "torch_pt2e": {
        "ort": {("output_not_quantized", "node_conv2d_1"), ("output_not_quantized", "node_linear")},
        "tensorrt": set(),
    },
}


def placed(model: Any, target: str = "ort") -> list[Finding]:
    """What the rules of placement find."""
    seen = audited(model, target)
    rules = [rule_named(name) for name in PLACEMENT]
    return [each for rule in rules if not rule.targets or target in rule.targets for each in rule.check(seen)]


# Of these, errors: TensorRT drops a layer that is half quantized, and does not say so.
GRAVE = {("brevitas_qonnx", ""): {"foreign_quantizer"}, ("brevitas_qcdq", "tensorrt"): {"half_quantized_op"}}


@pytest.mark.parametrize("target", ["ort", "tensorrt"])
@pytest.mark.parametrize("name", VERDICTS)
def test_files_of_other_tools(name: str, target: str) -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is not there")
    findings = placed(load(CORPUS / f"{name}.onnx"), target)
    assert {(each.rule, each.place.name) for each in findings} == VERDICTS[name][target]
    grave = {each.rule for each in findings if each.severity is Severity.ERROR}
    assert grave == GRAVE.get((name, target), GRAVE.get((name, ""), set()))


class Drawn:
    """A few samples for onnxruntime's quantizer."""

    def __init__(self) -> None:
        draws = (np.random.default_rng(seed).standard_normal((1, 3, 8, 8)) for seed in range(4))
        self._left: Iterator[dict[str, Any]] = iter([{"x": draw.astype(np.float32)} for draw in draws])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)


def by_onnxruntime(folder: Path, **options: Any) -> onnx.ModelProto:
    """The small residual net, quantized by onnxruntime."""
    from onnxruntime.quantization import quantize_static  # noqa: TID251

    onnx.save(residual_net(), folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "made.onnx", Drawn(), **options)
    return onnx.load(folder / "made.onnx")


def test_nothing_stands_wrong_in_what_onnxruntime_makes_with_uint8(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType  # noqa: TID251

    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    assert placed(by_onnxruntime(tmp_path, per_channel=True, **types)) == []
    assert placed(by_onnxruntime(tmp_path, quant_format=QuantFormat.QOperator, **types)) == []


def test_its_defaults_are_int8_with_several_readers(tmp_path: Path) -> None:
    findings = placed(by_onnxruntime(tmp_path))
    assert {(each.rule, each.place.name) for each in findings} >= {("signed_fan_out", "r"), ("signed_fan_out", "t")}
    assert {each.rule for each in findings} == {"signed_fan_out"}
    assert {"stem", "inner", "add"} <= {name for each in findings for name in named(each)}


def test_symmetric_activations_of_its_keep_the_relu_apart(tmp_path: Path) -> None:
    findings = placed(by_onnxruntime(tmp_path, extra_options={"ActivationSymmetric": True}))
    assert {"relu1", "relu2"} == {each.place.name for each in findings if each.rule == "activation_not_fused"}


INT8 = HEAD.replace("activations uint8 affine", "activations int8 affine")
_FLOAT = 'recipe demo\nmodel onnx "demo.onnx"\nquantize float {{ {} }}\ntarget ort\n'
_KINDS = {
    "static": HEAD,
    "per_tensor": HEAD.replace("per_channel", "per_tensor"),
    "float16": _FLOAT.format("weights float16; activations float16"),
    "weights": _FLOAT.format("weights int4 storage_only"),
}


def emitted(folder: Path, rules: str = "", *, head: str = HEAD) -> onnx.ModelProto:
    made = qdsl.compile(project(folder, rules, head=head), out=folder / "build", measure=False, lock=False, workers=1)
    return onnx.load(made.targets[0].emitted.model)


@pytest.mark.parametrize("kind", _KINDS)
def test_nothing_is_wrong_with_our_own(kind: str, tmp_path: Path) -> None:
    assert found(emitted(tmp_path, head=_KINDS[kind])) == []


def test_a_layer_that_a_recipe_keeps_is_no_fault(tmp_path: Path) -> None:
    assert placed(emitted(tmp_path, 'keep "inner" in float32\n')) == []


_CURED = {
    "int8": ("", INT8, "activation_not_fused"),
    "an edge left out": ('place { leave "relu1" -> "add" }\n', HEAD, "residual_not_quantized"),
    "inputs left out": ('place { leave inputs of "add" }\n', HEAD, "float_consumer"),
    "a part left out": ('place { leave tensor "l" }\n', HEAD, "residual_not_quantized"),
    "a pair too many": ('place { quantize outputs of "stem" }\n', HEAD, "activation_not_fused"),
    "the middle behind a Relu": ('layers "relu1" { activations uint8 symmetric }\n', HEAD, "activation_not_fused"),
}


@pytest.mark.parametrize(
    "case", [case if number < 2 else pytest.param(case, marks=pytest.mark.slow) for number, case in enumerate(_CURED)]
)
def test_lines_cure_what_they_are_told_for(case: str, tmp_path: Path) -> None:
    rules, head, rule = _CURED[case]
    findings = [each for each in placed(emitted(tmp_path, rules, head=head)) if each.rule == rule]
    assert findings and findings[0].fix is not None
    lines = "\n".join(findings[0].fix.lines)
    assert placed(emitted(tmp_path, f"{rules}{lines}\n", head=head)) == []
