"""What TensorRT refuses, or reads otherwise than ONNX means it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from audit_layers import conv, normal, small, stored
from audit_tools import File, audited, found
from compile_tools import HEAD
from onnx import ModelProto, TensorProto, helper

from qdsl.lang import loads

PER_CHANNEL = np.linspace(0.005, 0.02, 8)


def symmetric() -> File:
    return File(kind=np.int8)


def taken(**more: Any) -> ModelProto:
    """A layer as TensorRT takes it: int8 throughout, zero points of 0, a bias in floats."""
    return conv(normal(8, 4, 1, 1), PER_CHANNEL, file=symmetric(), bias=np.ones(8), **more)


def without_zero_point() -> ModelProto:
    file = symmetric()
    scale = file.constant("s", np.float32(0.05))
    read = file.node("DequantizeLinear", file.node("QuantizeLinear", "x", scale, name="q"), scale, name="dq")
    return file.give(file.pair(file.conv(read, name="conv"), scale=0.2))


def channels_of_an_activation() -> ModelProto:
    file = symmetric()
    names = [file.constant("s", np.full(4, 0.05, np.float32)), file.constant("z", np.zeros(4, np.int8))]
    q = file.node("QuantizeLinear", "x", *names, name="q", axis=1)
    read = file.node("DequantizeLinear", q, *names, name="dq", axis=1)
    return file.give(file.pair(file.conv(read, name="conv"), scale=0.2))


def operators() -> ModelProto:
    file = symmetric()
    file.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"], name="n_dynamic"))
    codes = file.constant("w", small(8, 4, 1, 1))
    sums = file.node("ConvInteger", "xq", codes, name="sums")
    return file.give(file.node("Cast", sums, name="y", to=TensorProto.FLOAT))


def four_bits(count: int) -> ModelProto:
    file = File(kind=np.int8, opset=21)
    names = [file.constant("s", np.float32(0.1))]
    weight = file.node("DequantizeLinear", "w", *names, name="w_dq")
    model = file.give(file.node("MatMul", "x", weight, name="matmul"))
    values = np.resize(np.arange(-7, 8), 8 * count).tolist()
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.INT4, [8, count], values))
    return model


def odd() -> ModelProto:
    model = four_bits(3)
    model.graph.initializer[-1].CopyFrom(
        helper.make_tensor("w", TensorProto.INT4, [3, 3], [0, 1, 2, 3, 4, 5, 6, 7, -8])
    )
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 3
    return model


def sixteen_bits() -> ModelProto:
    return conv(normal(8, 4, 1, 1), file=File(kind=np.int16, opset=21))


CASES: dict[str, tuple[Callable[[], ModelProto], str, str]] = {
    "uint8": (lambda: conv(normal(8, 4, 1, 1), file=File()), "unsigned_integers", "x"),
    "uint8 weights": (
        lambda: conv(normal(8, 4, 1, 1).astype(np.uint8), file=symmetric(), zero=0),
        "unsigned_integers",
        "w_dq",
    ),
    "zero point": (lambda: conv(normal(8, 4, 1, 1), file=File(kind=np.int8, zero=3)), "zero_point_not_zero", "x"),
    "zero points": (lambda: taken(zero=[0, 0, 0, 1, 0, 0, 0, 0]), "zero_point_not_zero", "w_dq"),
    "no zero point": (without_zero_point, "zero_point_not_written", "n_q"),
    "no axis": (lambda: taken(axis=None), "axis_not_written", "n_w_dq"),
    "bias": (
        lambda: conv(normal(8, 4, 1, 1), file=symmetric(), bias=np.arange(8), steps=0.05 * 0.01),
        "bias_in_integers",
        "n_conv",
    ),
    "operators": (operators, "qoperator_form", "n_sums"),
    "16 bits": (sixteen_bits, "unsupported_type", "x"),
    "scales of an activation": (channels_of_an_activation, "activation_per_channel", "x"),
    "odd": (odd, "four_bits_odd", "w_dq"),
}
RULES = {rule for _, rule, _ in CASES.values()}


def told(model: ModelProto, target: str = "tensorrt") -> set[tuple[str, str]]:
    return {(each.rule, each.place.name) for each in found(audited(model, target)) if each.rule in RULES}


def test_a_file_that_it_takes() -> None:
    assert [each.rule for each in found(audited(taken(), "tensorrt"))] == ["weakly_typed_flags"]


@pytest.mark.parametrize("name", CASES)
def test_what_it_refuses_or_reads_otherwise(name: str) -> None:
    made, rule, place = CASES[name]
    assert (rule, place) in told(made())
    assert told(made(), "ort") == set(), "onnxruntime does not mind"


@pytest.mark.parametrize("name", ["zero point", "bias", "16 bits", "scales of an activation", "odd", "operators"])
def test_one_cause_is_told_by_one_rule(name: str) -> None:
    made, rule, _ = CASES[name]
    assert {each for each, _ in told(made())} == {rule}


@pytest.mark.parametrize("model", [four_bits(4), taken()])
def test_what_it_takes_is_told_by_none(model: ModelProto) -> None:
    assert told(model) == set()


def test_cures_are_lines_of_the_language_or_rewrites() -> None:
    rewrites = {"float_bias", "written_axis", "written_zero_point", "signed_integers", "written_out"}
    for made, rule, _ in CASES.values():
        for finding in found(audited(made(), "tensorrt")):
            if finding.rule == rule and finding.fix is not None:
                assert finding.fix.rewrite in rewrites | {""}
                loads(HEAD + "\n".join(finding.fix.lines) + "\n", name="demo.q")


@pytest.mark.parametrize("name", ["uint8", "zero point"])
def test_what_is_wrong_with_most_of_a_file_is_mended_by_one_line_and_one_per_input(name: str) -> None:
    """`layers all` speaks of what a node writes."""
    made, rule, _ = CASES[name]
    fixes = {each.place.name: each.fix for each in found(audited(made(), "tensorrt")) if each.rule == rule}
    told = {tensor: fix.lines for tensor, fix in fixes.items() if fix is not None}
    assert told.pop("x") == ('layers tensor "x" { activations int8 symmetric }',)
    assert set(told.values()) == {("layers all { activations int8 symmetric }",)}


def test_a_bias_of_eight_bits_is_taken() -> None:
    file = symmetric()
    read = file.pair("x")
    names = [file.constant("b", np.int8(np.arange(8))), file.constant("b_s", np.float32(0.1))]
    inputs = [read, stored(file, "w", normal(8, 4, 1, 1), 0.01), file.node("DequantizeLinear", *names, name="b_dq")]
    assert told(file.give(file.pair(file.node("Conv", *inputs, name="conv")))) == set()
