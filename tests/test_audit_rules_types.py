"""Rules about what cannot hold as it is written, and about types and attributes above the opset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from audit_layers import conv, small, stored
from audit_tools import File, audited, found, named
from onnx import ModelProto, TensorProto, helper

from qdsl.diag import Severity

PER_CHANNEL = np.linspace(0.005, 0.02, 8)


def pair(scale: Any = 0.05, zero: Any = None, *, opset: int = 17, domain: str = "", **attributes: Any) -> ModelProto:
    """One pair on x [1, 4, 8, 8]; `zero` is an array, or (type, shape, values) for types that numpy lacks."""
    file = File(opset=opset)
    names = [file.constant("s", scale if isinstance(scale, np.ndarray) else np.float32(scale))]
    names += [] if zero is None else ["z"]
    if isinstance(zero, np.ndarray | np.generic):
        file.constant("z", zero)
    q = file.node("QuantizeLinear", "x", *names, name="q", domain=domain, **attributes)
    model = file.give(file.node("DequantizeLinear", q, *names, name="dq", domain=domain, **attributes))
    if isinstance(zero, tuple):
        model.graph.initializer.append(helper.make_tensor("z", *zero))
    model.ir_version = 13
    return model


def rules_of(model: ModelProto) -> dict[str, set[str]]:
    told: dict[str, set[str]] = {}
    for finding in found(audited(model)):
        told.setdefault(finding.rule, set()).update(named(finding))
    return told


def runs(model: ModelProto) -> str:
    """ "loads and runs", "fails" when it runs, or "is refused" as it is loaded: what onnxruntime makes of a file."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return "is refused"
    try:
        session.run(None, {"x": np.zeros((1, 4, 8, 8), np.float32)})
    except Exception:
        return "fails"
    return "runs"


INT16 = np.int16(0)
INT4 = (TensorProto.INT4, [], [0])
INT2 = (TensorProto.INT2, [], [0])
FLOAT8 = (TensorProto.FLOAT8E4M3FN, [], [0])
FOUR = np.full(4, 0.05, np.float32)
BLOCKS = np.full((1, 4, 8, 4), 0.05, np.float32)


def zeros(like: Any) -> Any:
    return np.zeros(np.shape(like), np.int8)


CASES: dict[str, tuple[Callable[[], ModelProto], str, str]] = {
    "scales": (lambda: pair(FOUR[:3], zeros(FOUR[:3]), axis=1), "scale_length", "fails"),
    "scales of a weight": (lambda: conv(scale=PER_CHANNEL[:7]), "scale_length", "fails"),
    "axis": (lambda: pair(FOUR, zeros(FOUR), axis=9), "axis_out_of_range", "fails"),
    "axis of a fused weight": (lambda: conv(scale=PER_CHANNEL, axis=6), "axis_out_of_range", "runs"),
    "zero points": (lambda: pair(FOUR, zeros(FOUR[:2]), axis=1), "zero_point_shape", "fails"),
    "one zero point": (lambda: pair(FOUR, np.int8(0), axis=1), "zero_point_shape", "fails"),
    "blocks": (
        lambda: pair(BLOCKS[..., :3], zeros(BLOCKS[..., :3]), opset=21, axis=3, block_size=2),
        "block_count",
        "fails",
    ),
    "scale 0": (lambda: pair(0.0, np.int8(0)), "scale_not_positive", "runs"),
    "scale below 0": (lambda: pair(-0.1, np.int8(0)), "scale_not_positive", "runs"),
    "no number": (lambda: pair(float("nan"), np.int8(0)), "scale_not_positive", "runs"),
    "a channel": (lambda: conv(scale=[*PER_CHANNEL[:7], 0]), "scale_not_positive", "runs"),
    "int16 at 17": (lambda: pair(zero=INT16), "type_above_opset", "is refused"),
    "int4 at 19": (lambda: pair(zero=INT4, opset=19), "type_above_opset", "is refused"),
    "int2 at 21": (lambda: pair(zero=INT2, opset=21), "type_above_opset", "is refused"),
    "float8 at 17": (lambda: pair(zero=FLOAT8), "type_above_opset", "is refused"),
    "axis at 12": (lambda: pair(FOUR, zeros(FOUR), opset=12, axis=1), "axis_below_opset", "is refused"),
    "scales at 12": (lambda: pair(FOUR, zeros(FOUR), opset=12), "axis_below_opset", "runs"),
    "blocks at 19": (
        lambda: pair(BLOCKS, zeros(BLOCKS), opset=19, axis=3, block_size=2),
        "block_below_opset",
        "is refused",
    ),
}
HEALTHY: dict[str, Callable[[], ModelProto]] = {
    "scales": lambda: pair(FOUR, zeros(FOUR), axis=1),
    "from the end": lambda: pair(FOUR, zeros(FOUR), axis=-3),
    "per channel": lambda: conv(scale=PER_CHANNEL),
    "blocks": lambda: pair(BLOCKS, zeros(BLOCKS), opset=21, axis=3, block_size=2),
    "int16 at 21": lambda: pair(zero=INT16, opset=21),
    "int16 of com.microsoft": lambda: pair(zero=INT16, domain="com.microsoft"),
    "int4 at 21": lambda: pair(zero=INT4, opset=21),
    "one scale at 12": lambda: pair(zero=np.int8(0), opset=12),
}
NUMBERS = {rule for _, rule, _ in CASES.values()} | {"axis_unknown", "zero_point_type"}


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_hold_is_told_and_comes_to_what_is_told(name: str) -> None:
    made, rule, comes_to = CASES[name]
    model = made()
    assert {each for each in rules_of(model) if each in NUMBERS} == {rule}
    assert runs(model) == comes_to


@pytest.mark.parametrize("name", HEALTHY)
def test_what_holds_is_told_by_none_of_these_rules(name: str) -> None:
    model = HEALTHY[name]()
    assert not NUMBERS & set(rules_of(model))
    assert runs(model) == "runs"


def test_a_zero_point_of_another_type() -> None:
    file = File()
    file.constant("u", np.uint8(0))
    names = [file.constant("s", np.float32(0.1)), file.constant("z", np.int8(0))]
    q = file.node("QuantizeLinear", "x", *names, name="q")
    model = file.give(file.node("DequantizeLinear", q, "s", "u", name="dq"))
    assert rules_of(model)["zero_point_type"] == {"n_dq"} and runs(model) == "is refused"


def test_an_axis_from_the_end_of_who_knows_what() -> None:
    file = File()
    shape = file.node("Shape", "x", name="shape")
    twice = file.node("Reshape", "x", file.node("Concat", shape, shape, name="twice", axis=0), name="of_any_rank")
    names = [file.constant("s", FOUR), file.constant("z", zeros(FOUR))]
    q = file.node("QuantizeLinear", twice, *names, name="q", axis=-1)
    model = file.give(file.node("DequantizeLinear", q, *names, name="dq", axis=-1))
    for each in (*model.graph.value_info, *model.graph.output):
        each.ClearField("type")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "axis_unknown" in rules_of(model)


def test_nodes_of_one_cause_are_one_finding() -> None:
    (finding,) = [each for each in found(audited(pair(zero=INT16))) if each.rule == "type_above_opset"]
    assert named(finding) == {"n_q", "n_dq"} and finding.severity is Severity.ERROR
    assert "opset 21, or the same operators of com.microsoft" in finding.why


def test_scales_without_an_axis_are_half_a_fault_at_opset_12() -> None:
    (finding,) = [each for each in found(audited(CASES["scales at 12"][0]())) if each.rule == "axis_below_opset"]
    assert finding.severity is Severity.WARNING


def test_a_scale_of_float16_comes_with_opset_19() -> None:
    assert "type_above_opset" in rules_of(pair(np.array(0.05, np.float16), np.int8(0)))


def test_weights_are_judged_like_activations() -> None:
    file = File()
    weight = stored(file, "w", small(8, 4, 1, 1), PER_CHANNEL, axis=6)
    model = file.give(file.pair(file.node("Conv", file.pair("x"), weight, name="conv")))
    assert rules_of(model)["axis_out_of_range"] == {"n_w_dq"}
