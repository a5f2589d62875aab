"""Every kind of fault, planted at places that a seed chooses in clean models, is found where it was planted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from audit_tools import EVERY, audited, found, named
from compile_tools import HEAD, ROOT, project
from mutants import KINDS, Mutant, clean_for, mutants
from onnx import ModelProto
from quantized import session

import qdsl
from qdsl.auditing.index import rule_named
from qdsl.auditing.report import LEVELS

# A stem with Relu and a residual block, a SiLU, a pool, a depthwise Conv, a Concat of two branches, a classifier.
NET = """
net (float[1, 4, 16, 16] x) => (float[1, 6] y) {
  [stem] s = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
  [relu1] r = Relu (s)
  [inner] c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, w2, b2)
  [add] a = Add (c, r)
  [relu2] t = Relu (a)
  [pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (t)
  [deep] d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 16> (p, w3, b3)
  [left] l = Conv <kernel_shape = [1, 1]> (d, w4, b4)
  [sigmoid] g = Sigmoid (l)
  [silu] m = Mul (l, g)
  [right] h = Conv <kernel_shape = [1, 1]> (d, w5, b5)
  [concat] j = Concat <axis = 1> (m, h)
  [mix] k = Conv <kernel_shape = [1, 1]> (j, w6, b6)
  [side] o = Conv <kernel_shape = [1, 1]> (m, w8, b8)
  [join] q = Concat <axis = 1> (k, o, h, m)
  [last] e = Conv <kernel_shape = [1, 1]> (q, w9, b9)
  [relu3] n = Relu (e)
  [average] v = GlobalAveragePool (n)
  [flatten] f = Flatten (v)
  [gemm] y = Gemm <transB = 1> (f, w7, b7)
}
"""
SHAPES = {
    "w1": (16, 4, 3, 3),
    "w2": (16, 16, 3, 3),
    "w3": (16, 1, 3, 3),
    "w4": (16, 16, 1, 1),
    "w5": (24, 16, 1, 1),
    "w6": (16, 40, 1, 1),
    "w7": (6, 16),
    "w8": (16, 16, 1, 1),
    "w9": (16, 72, 1, 1),
}
SEED = 7
# What is noted of healthy files: shapes without a fast kernel, and how a build is called.
OF_ANY = {"slow_kernel", "weakly_typed_flags"}
# With the number of places for each kind: an audit of a detector takes seconds, and each place is one.
MODELS = {
    "yolov8n": ("recipes/yolov8n_static.q", 1),
    "mobilenet_v2": ("recipes/cracks_v2_static.q", 2),
    "steel": ("recipes/steel_default.q", 1),
}


def float_net() -> ModelProto:
    """The net with weights of usual sizes, the right branch much larger than the left."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {NET}')
    draw = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        spread = np.sqrt(2 / np.prod(shape[1:])) * (3.0 if name == "w5" else 1.0)
        values = {name: draw.normal(0, spread, shape), f"b{name[1:]}": draw.normal(0, 0.1, shape[0])}
        for key, value in values.items():
            proto.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), key))
    return proto


def missed(planted: list[Mutant]) -> Iterator[str]:
    """What is not found where it was planted, or told as graver than its rule says."""
    for mutant in planted:
        gravest = rule_named(mutant.rule).severity
        findings = [
            each for each in found(audited(mutant.model, mutant.target, cpus=EVERY)) if each.rule == mutant.rule
        ]
        if not any(mutant.place in named(each) for each in findings):
            places = ", ".join(sorted({each.place.name for each in findings})) or "nowhere"
            yield f"{mutant.kind}: {mutant.rule} at {mutant.place} was told {places}"
        if any(LEVELS.index(each.severity) < LEVELS.index(gravest) for each in findings):
            yield f"{mutant.kind}: {mutant.rule} is graver than {gravest.value}"


def false_alarms(model: ModelProto, target: str) -> list[str]:
    findings = found(audited(clean_for(model, target), target, cpus=EVERY))
    return [f"{each.rule} at {each.place.name}: {each.message}" for each in findings if each.rule not in OF_ANY]


def compiled(recipe: Path, folder: Path) -> ModelProto:
    made = qdsl.compile(recipe, out=folder, measure=False, lock=recipe.with_suffix(".lock").exists(), workers=1)
    return onnx.load(made.targets[0].emitted.model)


def test_there_are_many_kinds_and_each_rule_has_one() -> None:
    assert len(KINDS) >= 25
    assert len({kind.rule for kind in KINDS.values()}) >= 25


@pytest.mark.slow
def test_every_kind_is_found_in_a_small_model(tmp_path: Path) -> None:
    model = compiled(project(tmp_path, head=HEAD, proto=float_net()), tmp_path / "build")
    assert [each for target in ("ort", "tensorrt") for each in false_alarms(model, target)] == []
    planted = {kind: mutants(model, kind, SEED, 1) for kind in KINDS}
    assert [kind for kind, made in planted.items() if not made] == []
    assert [each for made in planted.values() for each in missed(made)] == []


# Kinds of which the audit says that an integer kernel is lost on ONNX Runtime.
LOSES = (
    "dangling_quantizer",
    "float_data",
    "float_branch",
    "float_factor",
    "float_part",
    "float_reader",
    "float_reader_of_relu",
    "float_output",
    "float_result",
    "float_result_of_relu",
    "second_pair",
    "symmetric_after_relu",
    "signed_fan_out",
    "signed_everywhere",
    "other_scale_behind_move",
)


def test_what_is_told_to_be_lost_is_lost(tmp_path: Path) -> None:
    """ONNX Runtime runs fewer integer kernels of such a mutant than of its clean twin."""
    model = compiled(project(tmp_path, head=HEAD, proto=float_net()), tmp_path / "build")
    clean = integer_kernels(model, tmp_path)
    planted = {kind: mutants(model, kind, SEED, 1)[0] for kind in LOSES}
    kept = [kind for kind, mutant in planted.items() if integer_kernels(mutant.model, tmp_path) >= clean]
    assert kept == []


def integer_kernels(model: ModelProto, folder: Path) -> int:
    """How many nodes compute in integers in ONNX Runtime's optimized graph."""
    session(model, folder / "optimized.onnx")
    ran = onnx.load(folder / "optimized.onnx").graph.node
    return sum(node.op_type.startswith(("QLinear", "QGemm")) for node in ran)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_is_found_in_real_models(name: str, tmp_path: Path) -> None:
    """Where the model has places for the kind."""
    recipe, places = MODELS[name]
    model = compiled(ROOT / recipe, tmp_path)
    assert [each for target in ("ort", "tensorrt") for each in false_alarms(model, target)] == []
    missing, kinds = [], 0
    for kind in KINDS:
        planted = mutants(model, kind, SEED, places)
        kinds += len(planted) == places
        missing += missed(planted)
    assert missing == []
    assert kinds >= 25
