"""Where Q/DQ pairs stand: the table's placement, `place` edge by edge, shared scales."""

from __future__ import annotations

import pytest
from plan_tools import branches, nodes, planned, readers, residual, tensors, two_convs, weights
from structure_graphs import Net

from qdsl.diag import QdslError

TWO, RESIDUAL, BRANCHES = two_convs(), residual(), branches()


def code(view, rules: str) -> str:
    with pytest.raises(QdslError) as caught:
        planned(view, rules)
    (found,) = caught.value.diagnostics
    return found.code


def test_pairs_stand_around_integer_nodes_and_after_what_folds() -> None:
    assert readers(planned(RESIDUAL)) == {
        "x": ("conv1:0",),
        "relu1_out": ("conv2:0", "add:1"),
        "conv2_out": ("add:0",),
        "relu2_out": ("pool:0",),
        "pool_out": ("conv3:0",),
        "conv3_out": ("output",),
    }


def test_every_silu_tensor_is_quantized() -> None:
    found = readers(planned(BRANCHES))
    assert found["left_out"] == ("left_sigmoid:0", "left_mul:0")
    assert {"left_sigmoid_out", "left_mul_out"} <= set(found)


def test_moving_operators_share_the_scale_of_their_input_and_need_no_observer() -> None:
    plan = tensors(planned(RESIDUAL))
    assert plan["pool_out"].group == plan["relu2_out"].group == "relu2_out"
    assert (plan["relu2_out"].observe, plan["pool_out"].observe) == (True, False)


def test_concat_keeps_a_scale_of_its_own() -> None:
    plan = tensors(planned(BRANCHES))
    assert len({plan[name].group for name in ("left_mul_out", "right_tanh_out", "concat_out")}) == 3


def test_biases_follow_weights_and_input() -> None:
    found = {bias.node: (bias.activation, bias.weight_port) for bias in planned(BRANCHES).biases}
    assert found["stem"] == ("x", 1)
    assert found["gemm"] == ("flatten_out", 1)


def test_a_constant_operand_takes_the_activations_scheme() -> None:
    net = Net()
    y = net.conv(net.input("x", 1, 3, 8, 8), 4, name="conv1")
    plan = planned(net.view(net.conv(net.op("Add", y, net.constant(1, 4, 1, 1), name="shift"), 4, name="conv2")))
    assert str(weights(plan)["shift"].scheme) == "uint8 affine per_tensor"
    assert nodes(plan)["shift"].prediction.runs == "integer"


def test_an_operator_with_no_integer_neighbour_stays_float() -> None:
    net = Net()
    y = net.conv(net.input("x", 1, 3, 8, 8), 4, name="conv1")
    y = net.op("Tanh", net.op("Sigmoid", net.op("Tanh", y, name="before"), name="alone"), name="after")
    plan = planned(net.view(y))
    assert nodes(plan)["alone"].mark == "="
    assert "beside" in nodes(plan)["alone"].note
    assert set(readers(plan)) == {"x", "conv1_out"}


def test_integer_and_shape_tensors_hold_no_pair() -> None:
    net = Net()
    y = net.conv(net.input("x", 1, 3, 8, 8), 4, name="conv1")
    shape = net.op("Shape", y, name="shape")
    plan = planned(net.view(net.op("Reshape", y, shape, name="reshape")))
    assert "shape_out" not in readers(plan)
    assert nodes(plan)["shape"].mark == "="


def test_a_node_refused_by_the_target_takes_its_pairs_along() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, name="conv1")
    weight = net.constant(4, 4, 2, 2)
    y = net.op("Tanh", net.op("ConvTranspose", net.op("Tanh", x), weight, name="up"))
    plan = planned(net.view(y))
    assert nodes(plan)["up"].mark == "!"
    assert "no integer kernel" in nodes(plan)["up"].note
    assert set(weights(plan)) == {"conv1"}
    assert set(readers(plan)) == {"x", "conv1_out"}


def test_an_activation_that_would_not_fold_gets_its_pair_before() -> None:
    plan = planned(TWO, 'layers op Conv { activations int8 symmetric }\nlayers tensor "x" { activations int8 }\n')
    assert nodes(plan)["conv1"].prediction.runs == "integer"
    assert "conv1_out" in readers(plan)


# --- place ----------------------------------------------------------------------------------------------------------


def test_leave_takes_one_edge_and_nothing_else() -> None:
    before = readers(planned(RESIDUAL))
    after = readers(planned(RESIDUAL, 'place { leave "relu1" -> "add" expect 1 }\n'))
    assert after["relu1_out"] == ("conv2:0",)
    assert {k: v for k, v in after.items() if k != "relu1_out"} == {k: v for k, v in before.items() if k != "relu1_out"}


def test_leave_a_tensor_takes_the_whole_pair() -> None:
    plan = planned(RESIDUAL, 'place { leave tensor "conv2_out" }\n')
    assert "conv2_out" not in readers(plan)
    assert nodes(plan)["conv2"].mark == "!", "without Q on its output ONNX Runtime runs it in float"
    assert readers(plan)["relu1_out"] == ("conv2:0", "add:1"), "the pairs beside stand as placed"


def test_leave_inputs_of_all_empties_the_table() -> None:
    rules = "place {\n  leave inputs of all\n  quantize inputs of op Conv\n}\n"
    assert readers(planned(RESIDUAL, rules)) == {
        "x": ("conv1:0",),
        "relu1_out": ("conv2:0",),
        "pool_out": ("conv3:0",),
        "conv3_out": ("output",),
    }


def test_quantize_names_its_line() -> None:
    plan = tensors(planned(RESIDUAL, 'place { quantize tensor "conv1_out" }\n'))
    assert plan["conv1_out"].placed.line == 11
    assert plan["conv2_out"].placed.rule == "ort_cpu.toml, row conv"


def test_the_skip_of_a_residual_addition() -> None:
    rules = "place {\n  leave inputs of residual_add\n  quantize skip of residual_add\n}\n"
    found = readers(planned(RESIDUAL, rules))
    assert found["relu1_out"] == ("conv2:0", "add:1")
    assert "conv2_out" not in found


def test_the_last_word_on_an_edge_holds() -> None:
    rules = 'place {\n  leave "conv2" -> "add"\n  quantize "conv2" -> "add"\n}\n'
    found = planned(RESIDUAL, rules)
    assert readers(found)["conv2_out"] == ("add:0",)
    assert tensors(found)["conv2_out"].placed.line == 13


def test_outputs_of_a_node_include_the_graph_output() -> None:
    assert readers(planned(TWO, 'place { quantize outputs of "sub" }\n'))["sub_out"] == ("output",)


def test_a_place_rule_that_reaches_no_float_tensor_is_an_error() -> None:
    net = Net()
    y = net.conv(net.input("x", 1, 3, 8, 8), 4, name="conv1")
    view = net.view(net.op("Reshape", y, net.op("Shape", y, name="shape"), name="reshape"))
    assert code(view, 'place { quantize tensor "shape_out" }\n') == "setting-unused"


def test_quantize_against_float32_activations_contradicts() -> None:
    rules = 'layers "conv2" { activations float32 }\nplace { quantize outputs of "conv2" }\n'
    assert code(TWO, rules) == "rule-conflict"


# --- share ----------------------------------------------------------------------------------------------------------


def test_share_across_a_node_joins_its_inputs_and_output() -> None:
    plan = tensors(planned(BRANCHES, "place { share scale across op Concat }\n"))
    joined = ("left_mul_out", "right_tanh_out", "concat_out")
    assert len({plan[name].group for name in joined}) == 1
    assert all(plan[name].observe for name in joined)


def test_share_across_inputs_leaves_the_output_apart() -> None:
    plan = tensors(planned(BRANCHES, "place { share scale across inputs of op Concat }\n"))
    assert plan["left_mul_out"].group == plan["right_tanh_out"].group != plan["concat_out"].group


def test_share_across_tensors_is_named_after_the_first_in_graph_order() -> None:
    plan = tensors(planned(BRANCHES, 'place { share scale across tensor ["gemm_out", "stem_out", "x"] }\n'))
    assert {plan[name].group for name in ("gemm_out", "stem_out", "x")} == {"x"}


def test_sharing_merges_groups() -> None:
    rules = 'place { share scale across tensor ["x", "flatten_out"]; share scale across tensor ["x", "gemm_out"] }\n'
    plan = tensors(planned(BRANCHES, rules))
    assert {plan[n].group for n in ("x", "average_out", "flatten_out", "gemm_out")} == {"x"}
    assert not plan["flatten_out"].observe


def test_different_types_cannot_share() -> None:
    rules = 'layers tensor "x" { activations uint8 symmetric }\nplace { share scale across tensor ["x", "relu_out"] }\n'
    assert code(TWO, rules) == "share-mismatch"


def test_sharing_needs_two_quantized_tensors() -> None:
    assert code(TWO, 'place { share scale across tensor ["x", "sub_out"] }\n') == "setting-unused"


def test_two_ranges_under_one_scale_contradict() -> None:
    rules = (
        'layers tensor "x" { range [0, 1] }\nlayers tensor "relu_out" { range [0, 6] }\n'
        'place { share scale across tensor ["x", "relu_out"] }\n'
    )
    assert code(TWO, rules) == "rule-conflict"
