"""Rules about where Q and DQ stand: each on a file with the fault, and on one that only looks like it."""

from __future__ import annotations

import numpy as np
import pytest
from audit_tools import File, audited, found, named, told
from compile_tools import HEAD
from onnx import ModelProto

from qdsl.auditing.finding import Finding
from qdsl.diag import Severity
from qdsl.lang import loads


def chain(file: File | None = None) -> tuple[File, str, str]:
    """x -> pair -> conv -> relu -> pair, with the file, what the Conv reads, and what comes out."""
    file = file or File()
    data = file.pair("x", zero=None)
    relu = file.node("Relu", file.conv(data, name="conv"), name="relu")
    return file, data, file.pair(relu)


def only(model: ModelProto, rule: str, target: str = "ort") -> Finding:
    """The one finding of all rules."""
    findings = found(model, target)
    assert [each.rule for each in findings] == [rule]
    return findings[0]


def rule_of(model: ModelProto, rule: str, target: str = "ort") -> list[Finding]:
    return [each for each in found(model, target) if each.rule == rule]


def test_nothing_is_wrong_with_a_plain_chain() -> None:
    file, _, out = chain()
    assert found(file.give(out)) == []


def test_a_quantizer_that_nobody_reads_costs_the_kernel_of_what_writes_its_input() -> None:
    file, _, out = chain()
    file.quantize("relu", scale=0.1, by="dead")
    finding = only(file.give(out), "dangling_quantizer")
    assert finding.place.name == "n_relu_dead" and finding.fix is not None
    assert finding.fix.rewrite == "dangling_nodes" and finding.fix.exact


def test_a_dequantizer_that_nobody_reads() -> None:
    file, _, out = chain()
    file.dequantize("x_q", name="dead")
    assert only(file.give(out), "dangling_dequantizer").place.name == "n_dead"


def test_integers_for_the_caller_dangle_not() -> None:
    file, _, out = chain()
    assert rule_of(file.give(out, "relu_q"), "dangling_quantizer") == []


@pytest.mark.parametrize(("scale", "words"), [(0.05, "the same scale"), (0.1, "another scale")])
def test_two_pairs_in_a_row_say_whether_they_are_equal(scale: float, words: str) -> None:
    file, _, out = chain()
    finding = only(file.give(file.pair(out, scale=scale, by="again")), "doubled_pair")
    assert words in finding.message and finding.place.name == f"n_{out}_again"
    assert (finding.fix is not None) == (scale == 0.05)


def test_a_change_of_width_is_a_note() -> None:
    file, _, out = chain(File(opset=21))
    second = file.pair(out, kind=np.uint16, scale=0.001, by="wide")
    (finding,) = rule_of(file.give(second), "doubled_pair")
    assert finding.severity is Severity.NOTE and "from uint8 to uint16" in finding.message


def test_a_pair_between_floats_around_a_move() -> None:
    file, _, out = chain()
    tanh = file.node("Tanh", out, name="tanh")
    flat = file.node("Flatten", file.pair(tanh), name="flat")
    (finding,) = rule_of(file.give(flat), "redundant_pair")
    assert finding.place.name == "n_tanh_q" and named(finding) == {"n_tanh_q", "n_flat"}
    assert finding.fix is not None and finding.fix.lines == ('place { leave tensor "tanh" }',)


def test_a_pair_around_a_move_of_integers_is_what_the_runtime_needs() -> None:
    file, _, out = chain()
    flat = file.node("Flatten", out, name="flat")
    assert found(file.give(file.pair(flat))) == []


def test_float_weights_between_quantized_activations_become_one_scale_per_tensor() -> None:
    file = File()
    conv = file.conv(file.pair("x"), name="conv", weight=file.floats("w", 4, 4, 1, 1))
    finding = only(file.give(file.pair(conv)), "half_quantized_op")
    assert finding.place.port == 1 and "one scale for the whole tensor" in finding.why


def test_float_data_before_integer_weights() -> None:
    file = File()
    conv = file.conv(file.node("Tanh", "x", name="tanh"), name="conv")
    finding = only(file.give(file.pair(conv)), "half_quantized_op")
    assert finding.place.name == "n_conv" and finding.place.port == 0


def test_weights_alone_are_a_form_of_their_own() -> None:
    file = File()
    conv = file.conv("x", name="conv")
    assert rule_of(file.give(conv), "half_quantized_op") == []


@pytest.mark.parametrize(("target", "count"), [("ort", 1), ("tensorrt", 0)])
def test_a_pair_before_a_move_reaches_a_gemm_on_tensorrt_alone(target: str, count: int) -> None:
    file, _, out = chain()
    flat = file.node("Flatten", out, name="flat")
    gemm = file.node("Gemm", flat, file.weight("gw", 256, 3), name="gemm")
    findings = rule_of(file.give(gemm), "half_quantized_op", target)
    assert len(findings) == count and all("before `n_flat`" in each.why for each in findings)


def residual(file: File, *, skip: bool, branch: bool) -> ModelProto:
    """relu -> conv2 -> add(+ relu), with a pair on the skip, on the branch of the Conv, or both."""
    file, _, out = chain(file)
    conv = file.conv(out, name="conv2")
    add = file.node("Add", file.pair(conv) if branch else conv, out if skip else "relu", name="add")
    return file.give(file.pair(add))


def test_on_onnxruntime_both_branches_of_an_addition_are_quantized() -> None:
    assert found(residual(File(), skip=True, branch=True)) == []
    (finding,) = rule_of(residual(File(), skip=True, branch=False), "residual_not_quantized")
    assert finding.place.name == "n_add" and "`conv2`" in finding.message
    (finding,) = rule_of(residual(File(), skip=False, branch=True), "residual_not_quantized")
    assert finding.fix is not None and finding.fix.lines == ("place { quantize skip of residual_add }",)


def test_on_tensorrt_the_skip_alone_is_meant() -> None:
    rule = "residual_not_quantized"
    assert rule_of(residual(File(kind=np.int8), skip=True, branch=False), rule, "tensorrt") == []
    (finding,) = rule_of(residual(File(kind=np.int8), skip=False, branch=True), rule, "tensorrt")
    assert finding.place.name == "n_add"


def test_a_concat_with_a_part_in_floats() -> None:
    file, _, out = chain()
    concat = file.node("Concat", out, file.node("Tanh", out, name="tanh"), name="concat", axis=1)
    (finding,) = rule_of(file.give(file.pair(concat)), "residual_not_quantized")
    assert finding.place.name == "n_concat"


def test_a_float_reader_beside_the_quantizer() -> None:
    file, _, out = chain()
    conv = file.conv(out, name="conv2")
    tanh = file.node("Tanh", "conv2", name="tanh")
    (finding,) = rule_of(file.give(file.pair(conv), tanh), "float_consumer")
    assert finding.place.name == "n_conv2" and named(finding) == {"n_conv2", "n_tanh"}
    assert finding.fix is not None and finding.fix.lines == ('place { quantize tensor "conv2" }',)


def test_the_caller_reads_floats_beside_the_quantizer() -> None:
    file, _, out = chain()
    (finding,) = rule_of(file.give(out, "relu"), "float_consumer")
    assert finding.place.name == "n_conv" and "the caller" in finding.message


def test_two_pairs_side_by_side() -> None:
    file, _, out = chain()
    conv = file.conv(out, name="conv2")
    left = file.conv(file.pair(conv), name="left")
    right = file.conv(file.pair(conv, scale=0.1, by="other"), name="right")
    finding = only(file.give(file.pair(left), file.pair(right)), "quantized_twice")
    assert finding.place.name == "n_conv2" and named(finding) == {"n_conv2", "n_conv2_q", "n_conv2_other"}


def test_a_conv_whose_result_is_not_quantized() -> None:
    file, _, out = chain()
    conv = file.conv(out, name="conv2")
    tanh = file.node("Tanh", file.node("Relu", conv, name="relu2"), name="tanh")
    finding = only(file.give(tanh), "output_not_quantized")
    assert finding.place.name == "n_conv2" and named(finding) == {"n_conv2", "n_tanh"}
    assert finding.fix is not None and finding.fix.lines == ('place { quantize tensor "relu2" }',)


def test_a_gemm_may_write_floats() -> None:
    file, _, out = chain()
    flat = file.pair(file.node("Flatten", out, name="flat"))
    gemm = file.node("Gemm", flat, file.weight("gw", 256, 3), name="gemm")
    assert found(file.give(gemm)) == []


def test_a_pair_between_a_conv_and_its_relu() -> None:
    file = File()
    conv = file.conv(file.pair("x"), name="conv")
    relu = file.node("Relu", file.pair(conv, zero=128), name="relu")
    finding = only(file.give(file.pair(relu)), "activation_not_fused")
    assert finding.place.name == "n_relu" and "n_conv" in named(finding)
    assert finding.fix is not None and finding.fix.lines == ('place { leave tensor "conv" }',)


def test_others_that_read_what_stands_before_the_relu_need_the_pair() -> None:
    file = File()
    read = file.pair(file.conv(file.pair("x"), name="conv"), zero=128)
    relu = file.node("Relu", read, name="relu")
    more = file.node("Sigmoid", read, name="sigmoid")
    assert rule_of(file.give(file.pair(relu), file.pair(more)), "activation_not_fused") == []


def test_a_symmetric_scale_behind_a_relu_keeps_it_apart_on_onnxruntime() -> None:
    file, _, out = chain(File(kind=np.int8))
    model = file.give(out)
    (finding,) = rule_of(model, "activation_not_fused")
    assert finding.place.name == "n_conv" and named(finding) == {"n_conv", "n_relu"}
    assert finding.fix is not None and finding.fix.lines == ("layers all { activations uint8 affine }",)
    assert rule_of(model, "activation_not_fused", "tensorrt") == []


def fan_out(kind: type) -> ModelProto:
    """A tensor read by two convolutions."""
    file = File(kind=kind, zero=-128 if kind is np.int8 else 0)
    file, _, out = chain(file)
    return file.give(*(file.pair(file.conv(out, name=name)) for name in ("left", "right")))


def test_scales_of_float16_are_told_once() -> None:
    file = File(opset=19)
    half = file.node("Cast", "x", name="half", to=10)
    parameters = [file.constant("s", np.float16(0.05)), file.constant("z", np.int8(0))]
    codes = file.constant("w", np.linspace(-127, 127, 16).reshape(4, 4, 1, 1).astype(np.int8))
    data = file.node(
        "DequantizeLinear", file.node("QuantizeLinear", half, *parameters, name="q"), *parameters, name="d"
    )
    weight = file.node("DequantizeLinear", codes, *parameters, name="wd")
    conv = file.node("Conv", data, weight, name="conv")
    out = file.node(
        "DequantizeLinear", file.node("QuantizeLinear", conv, *parameters, name="cq"), *parameters, name="cd"
    )
    model = file.give(file.node("Cast", out, name="y", to=1))
    finding = only(model, "float16_scales")
    assert finding.place.name == "n_conv" and "1 node" in finding.message
    assert rule_of(model, "float16_scales", "tensorrt") == []


def test_int8_with_several_readers() -> None:
    (finding,) = rule_of(fan_out(np.int8), "signed_fan_out")
    assert finding.place.name == "relu" and {"n_left", "n_right"} <= named(finding)
    assert finding.fix is not None and finding.fix.rewrite == "unsigned_activations" and finding.fix.exact
    assert found(fan_out(np.uint8)) == []


def test_a_layer_left_in_float_says_how_many_bytes() -> None:
    file, _, out = chain()
    tanh = file.node("Tanh", out, name="tanh")
    conv = file.conv(tanh, name="wide", weight=file.floats("w", 64, 4, 3, 3))
    (finding,) = rule_of(file.give(conv), "float_weights_left")
    assert finding.place.name == "n_wide" and "9.0 KiB" in finding.message
    assert finding.severity is Severity.WARNING


def test_few_bits_in_a_wide_type() -> None:
    codes = np.random.default_rng(0).integers(-7, 8, (16, 4, 1, 1))
    file = File()
    conv = file.node("Conv", file.pair("x"), file.weight("w", codes=codes), name="conv")
    finding = only(file.give(file.pair(conv)), "stored_wide")
    assert finding.severity is Severity.NOTE and finding.place.name == "n_conv"
    assert "4 bits" in finding.message


def test_floats_before_a_q_and_dq() -> None:
    file = File()
    weight = file.pair(file.floats("w", 16, 4, 1, 1), kind=np.int8, zero=0)
    conv = file.node("Conv", file.pair("x"), weight, name="conv")
    finding = only(file.give(file.pair(conv)), "stored_wide")
    assert "as floats" in finding.message and finding.why.startswith("0.2 KiB")


def test_an_island_without_a_kernel_is_a_note_and_one_of_scales_a_warning() -> None:
    file, _, out = chain()
    tanh = file.node("Tanh", out, name="tanh")
    conv = file.conv(file.pair(tanh), name="conv2")
    finding = only(file.give(file.pair(conv)), "island")
    assert finding.severity is Severity.NOTE and finding.place.name == "n_tanh"
    file, _, out = chain()
    pool = file.node("MaxPool", out, name="pool", kernel_shape=[2, 2])
    conv = file.conv(file.pair(pool, scale=0.06), name="conv2")
    finding = only(file.give(file.pair(conv)), "island")
    assert finding.severity is Severity.WARNING and finding.place.name == "n_pool"
    assert finding.fix is not None and finding.fix.lines == ('place { share scale across "n_pool" }',)


def test_a_graph_output_rounded_behind_a_float_kernel() -> None:
    file, _, out = chain()
    tanh = file.node("Tanh", out, name="tanh")
    (finding,) = rule_of(file.give(file.pair(tanh)), "pair_at_graph_edge")
    assert finding.place.name == "tanh" and finding.severity is Severity.WARNING


def test_integers_for_the_application_are_a_note() -> None:
    file, _, out = chain()
    conv = file.conv(out, name="conv2")
    (finding,) = rule_of(file.give(file.quantize(conv, zero=3)), "pair_at_graph_edge")
    assert finding.severity is Severity.NOTE and "(integer - 3) x 0.05" in finding.message


def test_quantizers_of_others_do_not_load() -> None:
    file = File()
    parameters = [file.constant(name, np.float32(value)) for name, value in (("s", 0.1), ("z", 0), ("b", 4))]
    quant = file.node("Quant", "x", *parameters, name="quant", domain="qonnx.custom_op.general", signed=1)
    (finding,) = rule_of(file.give(file.conv(quant, name="conv")), "foreign_quantizer")
    assert finding.severity is Severity.ERROR and finding.place.name == "n_quant"


def test_operators_of_others_are_told_once() -> None:
    file, _, out = chain()
    one = file.node("Sharpen", out, name="one", domain="acme.vision")
    two = file.node("Sharpen", one, name="two", domain="acme.vision")
    (finding,) = rule_of(file.give(two), "unread_operator")
    assert named(finding) == {"n_one", "n_two"} and finding.severity is Severity.WARNING


def test_names_that_no_recipe_can_hold_give_no_lines() -> None:
    file, _, out = chain()
    conv = file.conv(out, name="con\x07v")
    tanh = file.node("Tanh", conv, name="tanh")
    (finding,) = rule_of(file.give(file.pair(conv), tanh), "float_consumer")
    assert finding.fix is None


def test_lines_are_lines_of_the_language() -> None:
    models = [fan_out(np.int8), residual(File(), skip=True, branch=False), residual(File(), skip=False, branch=True)]
    for model in models:
        for finding in found(model):
            if finding.fix is not None:
                loads(HEAD + "\n".join(finding.fix.lines) + "\n", name="demo.q")


def test_records_are_told_by_rule_and_place() -> None:
    assert told(found(audited(fan_out(np.int8)))) >= {("signed_fan_out", "relu")}
