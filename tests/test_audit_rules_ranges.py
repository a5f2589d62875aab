"""Rules about ranges and sums: each on a file with the fault, and on one that only looks like it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from audit_layers import Array, conv, normal, small, stored
from audit_tools import EXACT, File, audited, found, named
from compile_tools import HEAD
from onnx import ModelProto

from qdsl.auditing.finding import Finding
from qdsl.diag import Severity
from qdsl.lang import loads

ALL = frozenset({"x86", "x86_vnni", "arm", "arm_dotprod"})


def of(model: ModelProto, rule: str, *, cpus: frozenset[str] = EXACT) -> list[Finding]:
    return [each for each in found(audited(model, cpus=cpus)) if each.rule == rule]


def parses(finding: Finding) -> bool:
    assert finding.fix is not None
    return loads(HEAD + "\n".join(finding.fix.lines) + "\n", name="demo.q").recipe is not None


def test_a_usual_layer_has_nothing_wrong_with_it() -> None:
    assert found(audited(conv(), cpus=ALL)) == []


# --- sums -------------------------------------------------------------------------------------------------------------


def test_large_neighbours_saturate_without_vnni() -> None:
    (finding,) = of(conv(normal(8, 4, 1, 1)), "sums_inexact", cpus=ALL)
    assert finding.place.name == "n_conv" and "x86 without VNNI" in finding.message
    assert "what qdsl builds" in finding.why and finding.fix is None, "no line is to be added"
    assert of(conv(normal(8, 4, 1, 1)), "sums_inexact") == [], "not on the CPUs that were asked about"


def test_the_lowest_integer_wraps_on_arm_beside_signed_activations() -> None:
    codes = small(8, 4, 1, 1)
    codes[0, :, 0, 0] = (-128, 0, 0, 0)
    findings = of(conv(codes, file=File(kind=np.int8)), "sums_inexact", cpus=ALL)
    assert [("Arm" in each.message) for each in findings] == [True], "no pair comes to more than 128"


@pytest.mark.parametrize("codes", [normal(4, 1, 3, 3), normal(8, 4, 1, 1).astype(np.uint8)])
def test_depthwise_kernels_and_unsigned_weights_are_exact(codes: Array) -> None:
    assert of(conv(codes), "sums_inexact", cpus=ALL) == []


def test_a_layer_that_runs_in_float_adds_no_integers() -> None:
    file = File()
    given = stored(file, "w", normal(8, 4, 1, 1), 0.01)
    model = file.give(file.node("Conv", "x", given, name="conv"))
    assert of(model, "sums_inexact", cpus=ALL) == []


# --- one scale for several ranges -------------------------------------------------------------------------------------


def joined(left: float, right: float, whole: float, op: str = "Sigmoid") -> ModelProto:
    """A Concat of a Sigmoid and of a Conv, whose pairs have these scales."""
    file = File()
    read = file.pair("x")
    boxes = file.pair(file.conv(read, name="boxes"), scale=right)
    scores = file.pair(
        file.node(op, file.pair(file.conv(read, name="logits"), scale=0.1, zero=128), name="scores"), scale=left
    )
    return file.give(file.pair(file.node("Concat", boxes, scores, name="join", axis=1), scale=whole))


def test_a_concat_of_boxes_and_probabilities_kills_the_scores() -> None:
    (finding,) = of(joined(1 / 255, 640 / 255, 640 / 255), "scale_over_disparate_ranges")
    assert finding.severity is Severity.ERROR and finding.place.name == "n_join" and finding.place.port == 1
    assert "keeps 0.4 steps" in finding.why and parses(finding)


def test_scores_under_the_wide_scale_themselves_are_known_by_their_sigmoid() -> None:
    (finding,) = of(joined(640 / 255, 640 / 255, 640 / 255), "scale_over_disparate_ranges")
    assert finding.place.port == 1 and ", 1] under" in finding.message
    assert of(joined(640 / 255, 640 / 255, 640 / 255), "unused_range") == [], "how wide it is, the Concat decides"


def test_parts_that_keep_their_steps_are_no_finding() -> None:
    assert of(joined(1 / 255, 12 / 255, 12 / 255), "scale_over_disparate_ranges") == []


def test_few_steps_are_a_warning() -> None:
    (finding,) = of(joined(1 / 255, 30 / 255, 30 / 255), "scale_over_disparate_ranges")
    assert finding.severity is Severity.WARNING


def test_a_joined_operator_is_read_like_a_pair() -> None:
    file = File()
    left, right = file.quantize("x", scale=1 / 255), file.quantize(file.node("Exp", "x", name="e"), scale=3.0)
    names = [file.constant("s", np.float32(3.0)), file.constant("z", np.uint8(0))]
    parts = [left, "x_q_s", "x_q_z", right, "e_q_s", "e_q_z"]
    joined = file.node("QLinearConcat", *names, *parts, name="j", domain="com.microsoft", axis=1)
    model = file.give(file.node("DequantizeLinear", joined, *names, name="y"))
    (finding,) = of(model, "scale_over_disparate_ranges")
    assert finding.place.name == "n_j" and finding.place.port == 2


# --- masks ------------------------------------------------------------------------------------------------------------


def masked(value: float, *, scale: float, mask: bool = True) -> ModelProto:
    """Scores and a mask of 0 and `value`, added and quantized in front of a Softmax."""
    file = File(zero=255)
    scores = file.pair(file.conv(file.pair("x"), name="scores"), scale=0.1)
    written = np.where(np.arange(8) < 4, 0, value).astype(np.float32)
    added = file.node("Add", scores, file.constant("mask", written), name="add") if mask else scores
    flat = file.node("Reshape", file.pair(added, scale=scale), file.constant("to", np.int64([4, 64])), name="flat")
    return file.give(file.node("Softmax", flat, name="softmax", axis=-1))


def test_a_mask_eats_the_range_of_the_scores() -> None:
    (finding,) = of(masked(-10000, scale=10000 / 255), "mask_eats_range")
    assert finding.severity is Severity.ERROR and finding.place.name == "n_add" and "`mask`" in finding.message
    assert "0.41 levels" in finding.why and parses(finding)


@pytest.mark.parametrize("model", [masked(-10000, scale=20 / 255), masked(-20, scale=40 / 255), masked(0, scale=0.1)])
def test_a_scale_that_stops_where_the_softmax_no_longer_looks(model: ModelProto) -> None:
    assert of(model, "mask_eats_range") == []


# --- scales too narrow, scales too wide -------------------------------------------------------------------------------


def deep(scales: tuple[float, float, float], op: str = "") -> ModelProto:
    """Three layers whose outputs have these scales; bell-shaped weights keep the size of what they read."""
    file = File(zero=128)
    read = file.pair("x", scale=0.05)
    for number, scale in enumerate(scales):
        width = 4 if number == 0 else 16
        weight = stored(file, f"w{number}", normal(16, width, 1, 1, seed=number), 0.5 / 127 / np.sqrt(width / 4))
        result = file.node("Conv", read, weight, name=f"layer{number}")
        result = file.node(op, result, name=f"op{number}") if op else result
        read = file.pair(result, scale=scale)
    return file.give(read)


FITS = (0.05, 0.05, 0.05)


@pytest.mark.parametrize("op", ["", "Relu"])
def test_layers_that_fit_are_told_by_no_rule(op: str) -> None:
    assert of(deep(FITS, op), "output_clipped") == [] == of(deep(FITS, op), "unused_range")


@pytest.mark.parametrize("times", [40, 1000])
def test_a_range_far_under_what_stands_around_it_is_clipped(times: float) -> None:
    (finding,) = of(deep((0.05, 0.05 / times, 0.05)), "output_clipped")
    assert finding.place.name == "layer1" and "`n_layer1` gives more" in finding.message and parses(finding)
    assert of(deep((0.05, 0.05 / times, 0.05)), "unused_range") == [], "what reads it is made for what it was"


@pytest.mark.parametrize("times", [20, 1000])
def test_a_range_far_over_what_stands_around_it_is_unused(times: float) -> None:
    findings = of(deep((0.05, 0.05 * times, 0.05)), "unused_range")
    assert [each.place.name for each in findings] == ["layer1"] and parses(findings[0])
    assert of(deep((0.05, 0.05 * times, 0.05)), "output_clipped") == []


@pytest.mark.parametrize("times", [1 / 3, 1 / 2, 2, 3])
def test_what_calibration_may_choose_is_no_finding(times: float) -> None:
    model = deep((0.05, 0.05 * times, 0.05))
    assert of(model, "output_clipped") == [] == of(model, "unused_range")


def test_clipped_logits_at_the_end_of_the_graph() -> None:
    (finding,) = of(deep((0.05, 0.05, 0.05 / 200)), "output_clipped")
    assert finding.place.name == "layer2"
    assert of(deep((0.05, 0.05, 0.05 / 3)), "output_clipped") == []


def test_a_bias_that_the_range_does_not_hold() -> None:
    bias = np.linspace(-1, 30, 8)
    assert [each.place.name for each in of(conv(out=5 / 255, bias=bias), "output_clipped")] == ["conv"]
    assert of(conv(out=20 / 255, bias=bias), "output_clipped") == []
    assert of(conv(out=6 / 255, bias=bias), "output_clipped") == [], "a ReLU6 was folded into it"
    assert of(conv(out=5 / 255, bias=-bias, then="Relu"), "output_clipped") == [], "behind a Relu nothing is below 0"


def gated(logits: float, *, codes: Array) -> ModelProto:
    """A Sigmoid of a layer, with scale 1/255 behind it."""
    file = File(zero=128)
    weight = stored(file, "w", codes, 0.05)
    inside = file.pair(file.node("Conv", file.pair("x"), weight, name="conv"), scale=logits)
    return file.give(file.pair(file.node("Sigmoid", inside, name="gate"), scale=1 / 255, zero=0))


def test_a_sigmoid_that_can_no_longer_reach_what_it_was_made_for() -> None:
    (finding,) = of(gated(0.002, codes=normal(4, 4, 1, 1)), "output_clipped")
    assert finding.place.name == "conv" and "`n_gate` can reach 0.56" in finding.why
    assert of(gated(0.05, codes=normal(4, 4, 1, 1)), "output_clipped") == []


def test_a_range_cut_where_a_sigmoid_reads_nothing_more() -> None:
    assert of(gated(0.06, codes=normal(4, 4, 1, 1)), "output_clipped") == []


def test_probabilities_with_a_scale_for_more() -> None:
    file = File()
    scores = file.node("Sigmoid", file.pair(file.conv(file.pair("x"), name="conv"), scale=0.1, zero=128), name="scores")
    (finding,) = of(file.give(file.pair(scores, scale=5 / 255)), "unused_range")
    assert finding.place.name == "scores" and ", 1] at most" in finding.why


@pytest.mark.parametrize(("kind", "zero"), [(np.int8, 0), (np.uint8, 128)])
def test_half_a_range_behind_a_relu_is_a_choice(kind: Any, zero: int) -> None:
    """As symmetric types and Quark leave it."""
    assert of(conv(file=File(kind=kind, zero=zero), then="Relu"), "unused_range") == []


# --- weights ----------------------------------------------------------------------------------------------------------


def test_codes_that_stay_in_a_quarter_of_their_type() -> None:
    (finding,) = of(conv((normal(8, 4, 3, 3) / 6).astype(np.int8)), "unused_range")
    assert finding.place.name == "n_conv" and "up to 21 of 127" in finding.message and parses(finding)


@pytest.mark.parametrize("codes", [np.rint(normal(8, 4, 3, 3) / 127 * 64).astype(np.int8), normal(8, 4, 3, 3)])
def test_seven_bits_on_purpose_are_no_finding(codes: Array) -> None:
    """As NNCF and reduce_range write them."""
    assert of(conv(codes), "unused_range") == []


def test_a_clip_says_that_few_integers_are_meant() -> None:
    file = File()
    read = file.pair("x")
    file.constant("w", (normal(8, 4, 1, 1) / 400).astype(np.float32))
    names = [file.constant("w_s", np.float32(0.05)), file.constant("w_z", np.int8(0))]
    ends = [file.constant("low", np.int8(-7)), file.constant("high", np.int8(7))]
    few = file.node("Clip", file.node("QuantizeLinear", "w", *names, name="w_q"), *ends, name="few")
    weight = file.node("DequantizeLinear", few, *names, name="w_dq")
    model = file.give(file.pair(file.node("Conv", read, weight, name="conv"), scale=0.02))
    assert of(model, "unused_range") == []


def uneven(channels: int, lost: int, *, to: int = 1) -> Array:
    """A depthwise weight of which `lost` channels keep `to` integers on either side of 0."""
    codes = normal(channels, 1, 3, 3)
    codes[:lost] = np.sign(codes[:lost]) * to
    return codes


def test_channels_that_one_scale_rounds_away() -> None:
    (finding,) = of(conv(uneven(4, 2)), "collapsed_weights")
    assert finding.severity is Severity.WARNING and "depthwise" in finding.message
    assert "2 of 4 channels" in finding.message and parses(finding)


def test_few_lost_channels_are_a_note() -> None:
    assert [each.severity for each in of(conv(uneven(4, 1)), "collapsed_weights")] == [Severity.NOTE]


@pytest.mark.parametrize(
    "model",
    [
        conv(uneven(4, 2, to=0)),  # switched off by training
        conv(uneven(4, 2, to=5)),
        conv(uneven(4, 2), np.full(4, 0.01)),  # a scale per channel: what it holds is what there is
    ],
)
def test_channels_that_are_small_or_off_are_no_finding(model: ModelProto) -> None:
    assert of(model, "collapsed_weights") == []


# --- biases -----------------------------------------------------------------------------------------------------------

BIAS = np.arange(-4, 4) * 100


def test_a_bias_in_other_steps_than_its_products() -> None:
    (finding,) = of(conv(bias=BIAS, steps=0.05 * 0.01 * 1.5), "bias_scale_mismatch")
    assert "1.5 times" in finding.message and finding.place.name == "n_conv" and finding.place.port == 2
    assert finding.severity is Severity.WARNING and "float" in finding.why, "onnxruntime does not fuse such a Conv"


def test_a_gemm_adds_what_its_bias_does_not_mean() -> None:
    file = File()
    flat = file.node("Flatten", file.pair("x"), name="flat")
    names = [file.constant("b", np.int32([100] * 4)), file.constant("b_s", np.float32(0.05 * 0.01 * 3))]
    inputs = [file.pair(flat), stored(file, "w", small(256, 4), 0.01), file.node("DequantizeLinear", *names, name="bd")]
    (finding,) = of(file.give(file.pair(file.node("Gemm", *inputs, name="gemm"))), "bias_scale_mismatch")
    assert finding.severity is Severity.ERROR and "kernel adds" in finding.why


@pytest.mark.parametrize("off", [1.0, 1.005])
def test_a_bias_in_the_steps_of_its_products(off: float) -> None:
    scale = np.linspace(0.005, 0.01, 8)
    model = conv(bias=BIAS, steps=0.05 * scale * off, scale=scale)
    assert of(model, "bias_scale_mismatch") == []


def test_a_bias_in_floats_is_in_no_steps() -> None:
    assert of(conv(bias=BIAS / 100), "bias_scale_mismatch") == []


def test_findings_name_places_of_the_file() -> None:
    model = joined(1 / 255, 640 / 255, 640 / 255)
    names = {each.name for each in model.graph.node} | {name for each in model.graph.node for name in each.output}
    assert all(named(each) <= names for each in found(audited(model, cpus=ALL)))
