"""What the rules about numbers say of files that other tools wrote: fair, and the same as what runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from audit_tools import audited, found
from foreign_files import integer_conv, integer_matmul, of_activations
from onnx import ModelProto

import qdsl
from qdsl.auditing.index import rule_named
from qdsl.diag import Severity
from qdsl.graph import load, to_proto
from qdsl.targets.ort.products import products
from qdsl.targets.sums import inexact_families, product_faults

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "testdata"
CORPUS = SHARED / "audit_corpus"
ALL = frozenset({"x86", "x86_vnni", "arm", "arm_dotprod"})
NUMBERS = frozenset(
    [
        *("scale_length", "axis_out_of_range", "axis_unknown", "block_count", "zero_point_shape", "zero_point_type"),
        *("scale_not_positive", "type_above_opset", "axis_below_opset", "block_below_opset", "bias_scale_mismatch"),
        *("scale_over_disparate_ranges", "mask_eats_range", "output_clipped", "unused_range", "collapsed_weights"),
        "sums_inexact",
    ]
)
# What is said of each file, with the CPUs that add exactly, and how many products others add otherwise.
FILES: dict[str, tuple[dict[str, int], int]] = {
    "audit_corpus/aimet.onnx": ({}, 8),  # -128 in its weights: Arm, too
    "audit_corpus/brevitas_qcdq.onnx": ({}, 0),
    "audit_corpus/brevitas_qonnx.onnx": ({}, 0),
    "audit_corpus/modelopt.onnx": ({}, 0),  # runs in float here
    "audit_corpus/modelopt_fp32.onnx": ({}, 0),
    "audit_corpus/nncf.onnx": ({}, 2),
    "audit_corpus/quark.onnx": ({}, 0),
    "audit_corpus/quark_msdomain.onnx": ({}, 2),
    "audit_corpus/tf2onnx_int8.onnx": ({}, 0),
    "audit_corpus/torch_pt2e.onnx": ({}, 2),
    "models/mlperf_kws_float.onnx": ({}, 0),
    "models/mlperf_pretrainedResnet_quant_qdq.onnx": ({}, 3),
    "models/mlperf_vww_96_int8_qdq.onnx": ({}, 11),
    "models/mobilenet_v2_1.0_224_quant_qdq.onnx": ({"collapsed_weights": 3}, 0),  # one scale, and trained with it
}


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not there")
@pytest.mark.parametrize("name", FILES)
def test_files_of_other_tools(name: str) -> None:
    expected, sums = FILES[name]
    model = load(SHARED / name)
    exactly = Counter(each.rule for each in found(audited(model)) if each.rule in NUMBERS)
    assert exactly == Counter(expected)
    assert len(list(rule_named("sums_inexact").check(audited(model, cpus=ALL)))) == sums


def as_the_runtime_multiplies(model: ModelProto) -> set[tuple[str, bool]]:
    """The nodes whose products ONNX Runtime's own kernels can add wrongly, and whether on x86."""
    seen = audited(model, cpus=ALL)
    return {
        (product.node, fault == "pairs")
        for family, cpus in inexact_families(seen.capability, ALL).items()
        for product in products(model.SerializeToString(), family)
        for fault, _ in product_faults(product, seen.capability, cpus)
    }


def as_the_file_says(model: ModelProto) -> set[tuple[str, bool]]:
    findings = rule_named("sums_inexact").check(audited(model, cpus=ALL))
    return {(each.place.name, "x86" in each.message) for each in findings}


LARGE = np.full((4, 4, 3, 3), 100, np.int8)
LOWEST = np.where(np.arange(144).reshape(LARGE.shape) % 7, np.int8(1), np.int8(-128))
HAND: dict[str, ModelProto] = {
    "pairs": integer_conv(LARGE),
    "operators": integer_conv(LARGE, operators=True),
    "signed pairs": integer_conv(LARGE, signed=True),
    "signed operators": integer_conv(LARGE, operators=True, signed=True),
    "signed, lowest": integer_conv(LOWEST, signed=True),
    "depthwise": integer_conv(LARGE[:, :1], group=4),
    "depthwise, several zero points": integer_conv(LARGE[:, :1], group=4, zeros=[0, 1, 2, 3]),
    "unsigned": integer_conv(LARGE.astype(np.uint8), zeros=128),
    "halves": integer_conv(LARGE // 2),
    "dynamic": integer_matmul(np.full((8, 8), 90, np.int8)),
    "activations": of_activations((np.uint8, np.int8)),
    "shared activations": of_activations((np.uint8, np.int8), shared=True),
    "signed activations": of_activations((np.int8, np.int8)),
}


@pytest.mark.parametrize("name", HAND)
def test_sums_are_told_where_the_runtime_multiplies_so(name: str) -> None:
    assert as_the_file_says(HAND[name]) == as_the_runtime_multiplies(HAND[name])


@pytest.mark.skipif(not CORPUS.exists(), reason=f"{CORPUS} is not there")
@pytest.mark.parametrize("name", ["aimet", "nncf", "quark_msdomain", "torch_pt2e", "tf2onnx_int8"])
def test_sums_of_other_tools_are_told_where_the_runtime_multiplies_so(name: str) -> None:
    model = to_proto(load(CORPUS / f"{name}.onnx"))
    assert as_the_file_says(model) == as_the_runtime_multiplies(model)


@pytest.mark.skipif(not SHARED.exists(), reason=f"{SHARED} is not there")
@pytest.mark.parametrize(
    ("name", "biases", "zeros"),
    [("mlperf_vww_96_int8_qdq", 28, 60), ("mlperf_pretrainedResnet_quant_qdq", 10, 30)],
)
def test_tensorrt_refuses_as_many_nodes_as_are_told(name: str, biases: int, zeros: int) -> None:
    """As many as the parser of TensorRT-RTX 1.7.1 refused of these files, node by node."""
    seen = audited(load(SHARED / "models" / f"{name}.onnx"), "tensorrt")
    assert len(list(rule_named("bias_in_integers").check(seen))) == biases
    told = {each.place.name for each in rule_named("zero_point_not_zero").check(seen)}
    affine = [each for each in seen.finished.tensors if each.tensor in told]
    assert sum(len(each.quantizers) + len(each.dequantizers) for each in affine) == zeros


class Pictures:
    """Two random pictures, as onnxruntime's quantizer reads them."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.images = [draw.random((1, 3, 640, 640), np.float32) for _ in range(2)]
        self._left = [{"images": each} for each in self.images]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop() if self._left else None


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_detector_by_the_defaults_of_onnxruntime(per_channel: bool, tmp_path: Path) -> None:
    """It finds nothing: the last Concat leaves its scores no step."""
    from onnxruntime.quantization import QuantType, quantize_static  # noqa: TID251

    made = tmp_path / "yolov8n.onnx"
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8} if per_channel else {}
    quantize_static(ROOT / "examples/people/yolov8n.onnx", made, Pictures(), per_channel=per_channel, **kinds)
    findings = [each for each in found(audited(onnx.load(made))) if each.rule in NUMBERS]
    assert [(each.rule, each.place.name) for each in findings] == [
        ("scale_over_disparate_ranges", "/model.22/Concat_5")
    ]
    assert findings[0].severity is Severity.ERROR and findings[0].fix is not None
    assert findings[0].fix.lines == ("keep decode_head in float32",)


@pytest.mark.slow
def test_the_lines_told_of_a_detector_cure_it(tmp_path: Path) -> None:
    """All of them together, added to a recipe that asks for what onnxruntime's quantizer did."""
    from onnxruntime.quantization import quantize_static  # noqa: TID251

    detector = ROOT / "examples/people/yolov8n.onnx"
    quantize_static(detector, tmp_path / "theirs.onnx", Pictures())
    found = qdsl.audit(tmp_path / "theirs.onnx").report.findings
    assert {"scale_over_disparate_ranges", "signed_fan_out"} <= {each.rule for each in found}
    lines = dict.fromkeys(line for each in found if each.fix is not None for line in each.fix.lines)
    np.savez(tmp_path / "calib.npz", images=np.concatenate(Pictures().images))
    recipe = tmp_path / "ours.q"
    types = "weights int8 symmetric per_tensor; activations int8 affine; calibrate minmax on calib"
    head = f'recipe ours\nmodel onnx "{detector}"\ndata calib from npz "calib.npz"\nquantize static {{ {types} }}\n'
    recipe.write_text("\n".join([head, *lines, "target ort", ""]), encoding="utf-8")
    qdsl.compile(recipe, out=tmp_path / "build", lock=False)
    (made,) = (tmp_path / "build").rglob("model.onnx")
    assert qdsl.audit(made).report.findings == ()
