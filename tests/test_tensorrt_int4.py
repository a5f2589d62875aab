"""`target tensorrt` with int4 weights in blocks: which products read them, what is written, and what is refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rtx_engine
from compile_tools import project
from onnx import ModelProto, numpy_helper
from rtx_engine import DROPPED, INT8, WEIGHT_ONLY, examine

import qdsl
from qdsl.diag import QdslError
from qdsl.spec.decode import decode
from qdsl.spec.engine import QUANT_MANIFEST, QuantManifest
from qdsl.targets.as_written import AsWritten

NEEDS_RTX = pytest.mark.skipif(
    rtx_engine.python() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get"
)
FLOATS = 'recipe demo\nmodel onnx "demo.onnx"\nquantize float {{ weights {} }}\ntarget tensorrt {{ {} }}\n'
STATIC = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static {{ calibrate minmax on calib }}
layers "narrow" {{ weights {} }}
target tensorrt
"""


def products(*shapes: tuple[int, int], names: tuple[str, ...] = ("narrow", "wide", "last")) -> ModelProto:
    """MatMuls with a Relu between them, each with a matrix of one of `shapes`."""
    text = "".join(
        f"[{name}] h{at} = MatMul ({'x' if at == 0 else f'r{at - 1}'}, w{at}) [act{at}] r{at} = Relu (h{at})\n"
        for at, (name, _) in enumerate(zip(names, shapes, strict=False))
    )
    end = f"float[1, 8, {shapes[-1][1]}] r{len(shapes) - 1}"
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> net (float[1, 8, {shapes[0][0]}] x) => ({end}) {{ {text} }}'
    )
    draw = np.random.default_rng(0)
    for at, shape in enumerate(shapes):
        values = draw.standard_normal(shape).astype(np.float32) / np.float32(8)
        proto.graph.initializer.append(numpy_helper.from_array(values, f"w{at}"))
    return proto


def compiled(folder: Path, proto: ModelProto, head: str) -> Any:
    made = qdsl.compile(project(folder, head=head, proto=proto), out=folder / "build", lock=False, measure=False)
    return made.targets[0]


def runs(target: Any) -> dict[str, str]:
    """What the plan says of each product, in the words of an engine."""
    names = {"float": DROPPED, "integer": INT8}
    multiply = [node for node in target.plan.nodes if node.op in ("MatMul", "Gemm", "Conv")]
    return {n.node: WEIGHT_ONLY if n.prediction.float_products else names[n.prediction.runs] for n in multiply}


def refused(folder: Path, proto: ModelProto, head: str) -> list[tuple[str, int, str]]:
    with pytest.raises(QdslError) as caught:
        compiled(folder, proto, head)
    assert all(d.help for d in caught.value.diagnostics)
    return [(d.code, d.span.line if d.span else 0, d.label) for d in caught.value.diagnostics]


def test_what_is_written_is_the_weight_in_steps_of_its_blocks(tmp_path: Path) -> None:
    proto = products((128, 64), (64, 32))
    target = compiled(tmp_path, proto, FLOATS.format("int4 per_block 32", ""))
    made = onnx.load(target.emitted.model)
    assert made.opset_import[0].version == 21 and runs(target) == {"narrow": WEIGHT_ONLY, "wide": WEIGHT_ONLY}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    back = {}
    for name in ("w0", "w1"):
        float_weight = next(numpy_helper.to_array(t) for t in proto.graph.initializer if t.name == name)
        codes, scale = stored[f"{name}_quantized"].astype(np.float32), stored[f"{name}_scale"]
        assert not stored[f"{name}_zero_point"].astype(np.int8).any() and scale.shape == (
            len(codes) // 32,
            codes.shape[1],
        )
        back[name] = codes * np.repeat(scale, 32, axis=0)
        near = np.abs(back[name] - float_weight) <= np.repeat(scale, 32, axis=0) * 0.5 + 1e-6
        assert np.all(near | (codes == 7) | (codes == -8))  # what lies past the ends is cut off
    (node,) = [node for node in made.graph.node if node.name == "w0_DequantizeLinear"]
    assert {a.name: a.i for a in node.attribute} == {"axis": 0, "block_size": 32}
    x = np.random.default_rng(3).standard_normal((1, 8, 128)).astype(np.float32)
    expected = np.maximum(np.maximum(x.astype(np.float64) @ back["w0"], 0) @ back["w1"], 0)
    found = AsWritten(target.emitted.model).run({"x": x})["r1"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert abs(target.plan.totals.predicted_bytes - target.emitted.size) <= 0.05 * target.emitted.size


def test_a_static_build_has_them_beside_int8_and_no_pair_before_them(tmp_path: Path) -> None:
    target = compiled(tmp_path, products((128, 64), (64, 32)), STATIC.format("int4 per_block 64"))
    assert runs(target) == {"narrow": WEIGHT_ONLY, "wide": INT8}
    assert [plan.tensor for plan in target.plan.tensors] == ["r0"]
    assert [(weight.node, str(weight.scheme)) for weight in target.plan.weights] == [
        ("narrow", "int4 symmetric per_block 64"),
        ("wide", "int8 symmetric per_channel"),
    ]
    manifest = _manifest(target)
    assert {node.node: node.expect for node in manifest.nodes} == {"narrow": "weights", "wide": "int8"}
    assert manifest.typing == "strong", "the builder of 10.0 has no flag for int4"


def test_the_first_version_that_has_them_builds_them(tmp_path: Path) -> None:
    target = compiled(tmp_path, products((128, 64)), FLOATS.format("int4 per_block 64", 'version "10.0"'))
    commands = (target.emitted.directory / "commands.sh").read_text(encoding="utf-8")
    assert "--stronglyTyped" in commands and "--int4" not in commands


def _manifest(target: Any) -> Any:
    return decode(QuantManifest, json.loads((target.emitted.directory / QUANT_MANIFEST).read_text(encoding="utf-8")))


def test_a_bare_int4_gets_blocks(tmp_path: Path) -> None:
    target = compiled(tmp_path, products((128, 64)), FLOATS.format("4 bit", ""))
    assert [str(weight.scheme) for weight in target.plan.weights] == ["int4 symmetric per_block 64"]


WHERE = "in blocks of 16, 32, 64, 128 of a constant matrix that nobody else reads"


@pytest.mark.parametrize(
    ("shape", "weights", "because"),
    [
        ((128, 64), "int4 per_channel", WHERE),
        ((128, 64), "int4 per_block 8", WHERE),
        ((64, 64), "int4 per_block 64", WHERE),
        ((96, 64), "int4 per_block 64", WHERE),
        ((128, 31), "int4 per_block 64", WHERE),
        ((96, 64), "int4 per_block 64 storage_only", "96 values are no whole number of blocks of 64"),
        ((3, 5), "int4 per_channel storage_only", "the parser wants an even number of int4"),
        ((128, 64), "int4 affine per_block 64", "4 bit weights run in blocks"),
        ((128, 64), "uint4 per_block 64 storage_only", "its parser knows no uint4"),
        ((128, 64), "int16 storage_only", "its parser knows no 16 bit integers"),
    ],
)
def test_what_no_kernel_reads_is_refused_at_its_line(
    shape: tuple[int, int], weights: str, because: str, tmp_path: Path
) -> None:
    ((code, line, label),) = refused(tmp_path, products(shape), FLOATS.format(weights, ""))
    assert (code, line) == ("target-cannot", 3) and because in label


def test_a_conv_has_no_kernel_for_them(tmp_path: Path) -> None:
    for weights, because in (
        ("int4 per_block 32", "no kernel of Conv takes integer weights beside float activations"),
        ("int4 per_block 4 storage_only", "blocks run along one of the last two axes alone"),
    ):
        graph = "n (float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) { [c] y = Conv (x, w) }"
        text = f'<ir_version: 8, opset_import: ["": 17]> {graph}'
        proto = onnx.parser.parse_model(text)
        weight = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
        ((_, line, label),) = refused(tmp_path, proto, FLOATS.format(weights, ""))
        assert line == 3 and because in label


def test_two_readers_of_one_matrix_have_no_kernel(tmp_path: Path) -> None:
    proto = products((128, 128), (128, 128))
    proto.graph.node[2].input[1] = "w0"
    del proto.graph.initializer[1]
    ((_, line, label),) = refused(tmp_path, proto, FLOATS.format("int4 per_block 64", ""))
    assert line == 3 and "nobody else reads" in label


def test_a_pair_before_them_is_refused(tmp_path: Path) -> None:
    head = STATIC.format("int4 per_block 64") + 'place { quantize inputs of "narrow" }\n'
    ((_, line, label),) = refused(tmp_path, products((128, 64), (64, 32)), head)
    assert line == 5 and label == "int4 weights run beside float activations: TensorRT fails to build them beside int8"


@pytest.mark.parametrize(
    ("settings", "because"),
    [
        ('version "8.6"', "TensorRT 8.6 has no int4: 10.0 was the first"),
        ('device "t4"', "T4 has no int4: its compute capability is 7.5, and 8.0 was the first"),
    ],
)
def test_a_version_or_device_without_them_is_an_error(settings: str, because: str, tmp_path: Path) -> None:
    found = refused(tmp_path, products((128, 64)), FLOATS.format("int4 per_block 64", settings))
    assert found == [("target-cannot", 3, because)]


@pytest.mark.slow
@pytest.mark.rtx
@NEEDS_RTX
def test_tensorrt_rtx_computes_what_the_plan_says(tmp_path: Path) -> None:
    target = compiled(tmp_path, products((128, 64), (64, 96), (96, 64)), STATIC.format("int4 per_block 32"))
    assert runs(target) == {"narrow": WEIGHT_ONLY, "wide": INT8, "last": INT8}
    assert examine(onnx.load(target.emitted.model)).verdicts == runs(target)


@pytest.mark.slow
@pytest.mark.rtx
@NEEDS_RTX
def test_tensorrt_rtx_expands_one_block_and_an_odd_number_of_columns(tmp_path: Path) -> None:
    stored = 'layers ["wide", "odd"] { weights int4 per_block 64 storage_only }\n'
    proto = products((128, 128), (128, 64), (64, 128), (128, 31), names=("narrow", "whole", "wide", "odd"))
    target = compiled(tmp_path, proto, FLOATS.format("int4 per_block 64", "") + stored)
    assert runs(target) == {"narrow": WEIGHT_ONLY, "whole": WEIGHT_ONLY, "wide": DROPPED, "odd": DROPPED}
    assert examine(onnx.load(target.emitted.model)).verdicts == runs(target)


@pytest.mark.slow
@pytest.mark.rtx
@NEEDS_RTX
@pytest.mark.parametrize("seed", range(3))
def test_tensorrt_rtx_agrees_on_random_products(seed: int, tmp_path: Path) -> None:
    """Of lengths that are whole numbers of blocks, one of them included, and any number of columns. One of a single
    column is read by generated code: nobody knows what that multiplies."""
    draw = np.random.default_rng(seed)
    sizes = [int(size) for size in 32 * draw.integers(1, 5, 6)] + [int(draw.integers(2, 40))]
    names = tuple(f"p{at}" for at in range(len(sizes) - 1))
    proto = products(*pairwise(sizes), names=names)
    target = compiled(tmp_path, proto, FLOATS.format(f"int4 per_block {draw.choice([16, 32])} storage_only", ""))
    assert examine(onnx.load(target.emitted.model)).verdicts == runs(target)
