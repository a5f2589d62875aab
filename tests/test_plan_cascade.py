"""The cascade: mode, rules in source order, target block; later wins, contradictions are errors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_tools import HEAD, branches, decided, detector, nodes, planned, readers, residual, tensors, two_convs, weights

from qdsl.diag import QdslError
from qdsl.spec import Granularity

TWO, BRANCHES = two_convs(), branches()


def codes(view, rules: str, *, head: str = HEAD, target: str = "ort") -> list[str]:
    with pytest.raises(QdslError) as caught:
        decided(view, rules, head=head, target=target)
    return [d.code for d in caught.value.diagnostics]


def test_the_mode_is_where_every_node_starts() -> None:
    plan = planned(TWO)
    assert {str(w.scheme) for w in plan.weights} == {"int8 symmetric per_channel"}
    assert {str(t.scheme) for t in plan.tensors} == {"uint8 affine per_tensor"}
    assert {(w.origin.rule, w.origin.line) for w in plan.weights} == {("quantize static", 5)}
    assert {(t.calibration.method, t.calibration.data) for t in plan.tensors} == {("minmax", "calib")}


def test_types_merge_field_by_field() -> None:
    plan = planned(TWO, 'layers "conv1" { weights int8 per_tensor }\n')
    scheme = weights(plan)["conv1"].scheme
    assert str(scheme) == "int8 symmetric per_tensor"
    assert weights(plan)["conv1"].axis is None
    assert weights(plan)["conv2"].axis == 0


def test_a_bare_width_leaves_the_rest_to_the_table() -> None:
    head = HEAD.replace("activations uint8 affine per_tensor", "activations 8 bit").replace(
        "weights int8 symmetric per_channel", "weights 8 bit"
    )
    plan = planned(TWO, head=head)
    assert str(tensors(plan)["x"].scheme) == "uint8 affine per_tensor"
    assert str(weights(plan)["conv1"].scheme).startswith("int8 symmetric")


def test_a_width_between_types_is_emulated_and_says_so() -> None:
    scheme = weights(planned(TWO, 'layers "conv1" { weights 6 bit }\n'))["conv1"].scheme
    assert (scheme.dtype.name, scheme.emulated_bits) == ("int8", 6)
    assert "emulated" in str(scheme)


def test_later_rules_win_and_earlier_ones_are_remembered() -> None:
    rules = 'layers op Conv { weights int8 per_tensor }\nlayers "conv1" { weights int8 per_channel }\n'
    plan = planned(TWO, rules)
    assert weights(plan)["conv1"].scheme.granularity is Granularity.PER_CHANNEL
    assert weights(plan)["conv2"].scheme.granularity is Granularity.PER_TENSOR
    assert weights(plan)["conv1"].origin.line == 12


def test_activations_speak_of_what_a_node_writes_after_what_folds_into_it() -> None:
    plan = planned(TWO, 'layers "conv1" { range [0, 6] }\n')
    assert "conv1_out" not in tensors(plan)
    found = tensors(plan)["relu_out"].calibration
    assert (found.method, found.low, found.high, found.origin.line) == ("fixed", 0, 6, 11)
    assert tensors(plan)["conv2_out"].calibration.method == "minmax"


def test_a_later_calibration_wins_over_a_range_by_hand() -> None:
    plan = planned(TWO, 'layers "conv1" { range [0, 6] }\nlayers op Conv { calibrate minmax on calib }\n')
    assert tensors(plan)["relu_out"].calibration.method == "minmax"


def test_a_range_by_hand_holds_for_all_that_share_the_scale() -> None:
    plan = planned(residual(), 'layers tensor "pool_out" { range [0, 4] }\n')
    both = [tensors(plan)[name] for name in ("relu2_out", "pool_out")]
    assert len({one.group for one in both}) == 1
    assert {one.calibration.high for one in both} == {4}
    assert [one.tensor for one in both if one.observe] == ["pool_out"]


def test_keep_computes_in_float_on_the_dequantized_value() -> None:
    plan = planned(BRANCHES, "keep op Concat in float32\n")
    assert nodes(plan)["concat"].mark == "="
    assert nodes(plan)["concat"].origin.line == 11
    assert readers(plan)["left_mul_out"] == ("concat:0",)
    assert readers(plan)["concat_out"] == ("average:0",)
    assert "right_tanh_out" not in readers(plan), "only the kept node reads it, and a float node writes it"
    assert nodes(plan)["left"].prediction.runs == "integer"


def test_what_only_kept_nodes_surround_gets_no_pairs() -> None:
    plan = planned(BRANCHES, 'keep ["concat", "average", "flatten", "gemm"] in float32\n')
    assert not {"concat_out", "average_out", "flatten_out", "gemm_out"} & set(readers(plan))


def test_float32_weights_leave_the_node_in_float() -> None:
    plan = planned(TWO, 'layers "conv2" { weights float32 }\n')
    assert nodes(plan)["conv2"].mark == "="
    assert set(weights(plan)) == {"conv1"}
    assert set(readers(plan)) == {"x", "relu_out"}


def test_float32_activations_take_the_pair_away() -> None:
    plan = planned(TWO, 'layers "conv2" { activations float32 }\n')
    assert "conv2_out" not in readers(plan)
    assert nodes(plan)["conv2"].prediction.runs == "float"


def test_a_target_block_comes_last_and_for_that_target_only() -> None:
    rules = "layers op Conv { weights int8 per_tensor }\n"
    head = HEAD.replace("target ort\n", "target ort {\n  layers op Conv { weights int8 per_channel }\n}\n")
    assert {str(w.scheme.granularity.value) for w in planned(TWO, rules, head=head).weights} == {"per_channel"}


def test_a_target_block_changes_only_what_it_writes_of_the_mode() -> None:
    head = HEAD.replace("target ort\n", "target ort {\n  quantize static { weights int8 per_tensor }\n}\n")
    plan = planned(TWO, head=head)
    assert {str(w.scheme) for w in plan.weights} == {"int8 symmetric per_tensor"}
    assert {str(t.scheme) for t in plan.tensors} == {"uint8 affine per_tensor"}


def test_keep_and_layers_on_one_node_contradict() -> None:
    with pytest.raises(QdslError) as caught:
        planned(TWO, 'keep "conv2" in float32\nlayers op Conv { weights int8 per_tensor }\n')
    (found,) = caught.value.diagnostics
    assert found.code == "rule-conflict"
    assert found.span is not None and found.span.line == 12
    assert "line 11" in found.label and "conv2" in found.label


@pytest.mark.parametrize("order", [1, -1])
def test_layers_all_means_all_that_nothing_keeps(order: int) -> None:
    """A line that says something of the whole model fits every recipe."""
    rules = ['keep "conv2" in float32\n', "layers all { activations uint8 symmetric }\n"]
    plan = planned(TWO, "".join(rules[::order]))
    assert nodes(plan)["conv2"].mark == "="
    schemes = {t.tensor: str(t.scheme) for t in plan.tensors}
    assert schemes.pop("x") == "uint8 affine per_tensor", "no node writes the input"
    assert set(schemes.values()) == {"uint8 symmetric per_tensor"}
    assert codes(TWO, "keep all in float32\nlayers all { activations uint8 }\n") == ["rule-conflict"]


def test_a_calibration_on_a_kept_node_is_no_contradiction() -> None:
    plan = planned(TWO, 'keep "conv2" in float32\nlayers op Conv { calibrate minmax on calib }\n')
    (count,) = plan.counts
    assert (count.applied, count.passed) == (1, 1)


def test_rules_of_one_kind_do_not_contradict() -> None:
    plan = planned(TWO, 'keep "conv2" in float32\nkeep op Conv in float32\nlayers tensor "x" { range [0, 1] }\n'[:24])
    assert nodes(plan)["conv2"].mark == "="


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("layers op Conv { weights int16 }", "target-cannot"),
        ("layers op Conv { weights int4 }", "target-cannot"),
        ("layers op Sub { weights int8 }", "target-cannot"),
        ("layers op Conv { activations int16 }", "target-cannot"),
        ("layers op Conv { weights float16 }", "target-cannot"),
        ("layers op Relu { weights int8 }", "setting-unused"),
        ('layers tensor "sub_out" { range [0, 1] }', "setting-unused"),
        ("keep all in float32", "nothing-to-quantize"),
    ],
)
def test_what_cannot_be_honoured_is_an_error_at_its_line(rules: str, expected: str) -> None:
    with pytest.raises(QdslError) as caught:
        planned(TWO, rules + "\n")
    (found,) = caught.value.diagnostics
    assert found.code == expected
    line = 4 if expected == "nothing-to-quantize" else 11
    assert found.span is not None and found.span.line == line
    assert found.help


def test_storage_only_opens_a_type_that_is_stored_and_not_computed_in() -> None:
    plan = planned(TWO, 'layers "conv1" { weights int16 storage_only }\n')
    assert weights(plan)["conv1"].scheme.dtype.name == "int16"
    assert nodes(plan)["conv1"].mark == "+"
    assert nodes(plan)["conv1"].prediction.runs == "float"
    assert "stored only" in nodes(plan)["conv1"].note


@pytest.mark.usefixtures("ort_alone")
def test_a_target_without_a_table_says_so() -> None:
    head = HEAD.replace("target ort", 'target stm32 { device "STM32H7B3I-DK" }')
    assert codes(TWO, "", head=head, target="stm32") == ["target-absent"]


def test_static_without_data_says_so() -> None:
    head = HEAD.replace("  calibrate minmax on calib\n", "")
    assert codes(TWO, "", head=head) == ["calibration-missing"]


def test_all_errors_are_raised_at_once() -> None:
    rules = (
        "layers op Conv { weights int16 }\nlayers op Relu { activations int16 }\nlayers op Sub { activations int4 }\n"
    )
    assert codes(TWO, rules) == ["target-cannot"] * 3


def test_the_plan_counts_what_a_setting_passes_over() -> None:
    (count,) = planned(TWO, "layers all { weights int8 per_tensor }\n").counts
    assert (count.setting, count.applied, count.passed) == ("weights", 2, 2)


# --- properties -----------------------------------------------------------------------------------------------------

_GRAINS = ("per_tensor", "per_channel")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(_GRAINS), min_size=1, max_size=6))
def test_the_last_rule_wins(grains: list[str]) -> None:
    rules = "".join(f"layers op Conv {{ weights int8 {grain} }}\n" for grain in grains)
    found = {one.scheme.granularity.value for one in planned(TWO, rules).weights}
    assert found == {grains[-1]}


_DISJOINT = (
    'layers "stem" { weights int8 per_tensor }\n',
    'layers "left" { weights uint8 affine }\n',
    'layers "right" { range [-1, 1] }\n',
    'keep "gemm" in float32\n',
    'layers "concat" { activations uint8 symmetric }\n',
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.permutations(_DISJOINT))
def test_the_order_of_rules_on_disjoint_nodes_changes_nothing(rules: list[str]) -> None:
    def decisions(order: list[str]) -> tuple[object, ...]:
        plan = planned(BRANCHES, "".join(order))
        return (
            [(t.tensor, t.scheme, t.readers, t.group, t.observe, t.calibration.method) for t in plan.tensors],
            [(w.node, w.port, w.scheme, w.axis) for w in plan.weights],
            [(n.node, n.mark, n.prediction) for n in plan.nodes],
        )

    assert decisions(rules) == decisions(list(_DISJOINT))


def test_boxes_and_scores_under_one_scale_are_flagged_and_the_cure_works() -> None:
    view = detector()
    (flag,) = planned(view).flags
    assert (flag.code, flag.nodes, flag.help) == ("shared-range", ("detections",), ("keep decode_head in float32",))
    assert not planned(view, flag.help[0] + "\n").flags
    assert not planned(view, 'allow shared_range on "detections" because "scores are rescaled"\n').flags


def test_a_select_that_no_rule_uses_has_to_match_too() -> None:
    assert codes(TWO, "select none = op MaxPool\n") == ["selector-empty"]
    assert codes(TWO, "select none = op Foo\n") == ["unknown-op"]
    assert not planned(TWO, 'select first_one = "conv1"\nselect input = tensor "x"\n').flags
