"""Editing keeps links and names in order, and costs what it touches."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from graph_cases import IF_TEXT, conv_model, parse
from onnx import helper

import qdsl.graph
from qdsl.graph import edit
from qdsl.graph.model import Model
from qdsl.rewrite.facts import ALWAYS, offenders


def _model(text: str) -> Model:
    return qdsl.graph.from_proto(parse(text))


def _check(model: Model) -> None:
    model.sort()
    for fact in ALWAYS:
        assert offenders(model, fact) == ()


def _run(model: Model, **feeds: np.ndarray) -> list[np.ndarray]:
    return list(ort.InferenceSession(qdsl.graph.to_bytes(model)).run(None, feeds))


FAN = "g (float[4] x) => (float[4] y, float[4] z) { a = Relu (x) y = Neg (a) z = Add (a, a) }"


def test_inserting_on_a_tensor_moves_its_readers() -> None:
    model = _model(FAN)
    a = model.tensor("a")
    readers = edit.readers_of(a)
    out = edit.add_node(model, "Abs", [a], name="new", output_name="b", like=a, metadata={"k": "v"}).outputs[0]
    assert edit.replace_readers(model, out, readers) == 3
    _check(model)
    view = model.view()
    assert [(node.op, node.inputs) for node in view.nodes] == [
        ("Relu", ("x",)),
        ("Abs", ("a",)),
        ("Neg", ("b",)),
        ("Add", ("b", "b")),
    ]
    assert out.name == "b" and view.tensors["b"].shape == (4,)
    assert qdsl.graph.to_proto(model).graph.node[1].metadata_props[0].value == "v"


def test_inserting_for_some_readers_leaves_the_others() -> None:
    model = _model(FAN)
    readers = [(node, port) for node, port in edit.readers_of(model.tensor("a")) if node.op == "Add" and port == 1]
    made = edit.add_node(model, "Abs", [model.tensor("a")], output_name="b", like=model.tensor("a"))
    edit.replace_readers(model, made.outputs[0], readers)
    _check(model)
    assert model.view().node("z_Add").inputs == ("a", "b") and model.view().node("y_Neg").inputs == ("a",)


def test_a_graph_output_keeps_its_public_name() -> None:
    model = _model(FAN)
    old = model.tensor("y")
    new = edit.add_node(model, "Abs", [old], like=old).outputs[0]
    edit.replace_output(model, old, new)
    _check(model)
    assert model.view().outputs == ("y", "z") and old.name == "y_before"
    np.testing.assert_array_equal(_run(model, x=np.float32([1, 2, -3, 4]))[0], [1, 2, 0, 4])


def test_names_that_are_taken_get_a_number() -> None:
    model = _model(FAN)
    node = edit.add_node(model, "Abs", [model.tensor("a")], name="a_Relu", output_name="a")
    assert (node.name, node.outputs[0].name) == ("a_Relu_2", "a_2")
    assert edit.add_constant(model, "x", np.float32([1])).name == "x_2"
    with pytest.raises(ValueError, match="already"):
        edit.rename_tensor(model, model.tensor("a"), "x")
    with pytest.raises(ValueError, match="producer"):
        edit.add_node(model, "Abs", [model.tensor("x")], [model.tensor("a")])


def test_optional_inputs_are_filled_up_to_a_port() -> None:
    model = _model("g (float[4] x) => (float[4] y) { y = Clip (x) }")
    edit.replace_input(model, model.nodes()[0], 2, edit.add_constant(model, "top", np.float32(1)))
    _check(model)
    assert model.view().nodes[0].inputs == ("x", "", "top")
    np.testing.assert_array_equal(_run(model, x=np.float32([-1, 0, 1, 2]))[0], [-1, 0, 1, 1])


def test_a_node_takes_over_the_outputs_of_another() -> None:
    model = _model(FAN)
    old = model.nodes()[0]
    new = edit.add_node(model, "LeakyRelu", [model.tensor("x")], attrs={"alpha": 0.5})
    edit.move_outputs(model, old, new)
    edit.remove_node(model, old)
    _check(model)
    np.testing.assert_array_equal(_run(model, x=np.float32([-2, 0, 1, 2]))[0], [1, 0, -1, -2])


def test_what_a_body_reads_is_captured_and_stays() -> None:
    model = _model(IF_TEXT)
    assert model.captured(model.tensor("outer")) and not model.captured(model.tensor("y"))
    model.sweep()
    assert model.tensor("outer") is not None


def test_attributes_keep_their_type_and_may_be_removed() -> None:
    model = qdsl.graph.from_proto(conv_model())
    conv = model.nodes()[0]
    edit.set_attr(conv, "pads", [1, 1, 1, 1])
    edit.set_attr(conv, "kernel_shape", None)
    found = qdsl.graph.to_proto(model).graph.node[0]
    assert list(found.attribute) == [helper.make_attribute("pads", [1, 1, 1, 1])]


def test_a_constant_takes_the_place_of_a_computed_tensor() -> None:
    model = _model(FAN)
    relu = model.nodes()[0]
    edit.to_constant(model, model.tensor("a"), np.float32([1, 2, 3, 4]))
    edit.remove_node(model, relu)
    _check(model)
    np.testing.assert_array_equal(_run(model, x=np.zeros(4, np.float32))[1], [2, 4, 6, 8])


def test_editing_a_wide_tensor_is_not_quadratic() -> None:
    """Counted, not timed: identity comparisons while every reader of one tensor is moved, one at a time."""
    width = 3000
    nodes = [helper.make_node("Neg", ["x"], [f"y{i}"]) for i in range(width)]
    outputs = [helper.make_tensor_value_info(f"y{i}", 1, [1]) for i in range(width)]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1])], outputs)
    model = qdsl.graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    looked = 0

    class Counted(list):  # type: ignore[type-arg]
        def __iter__(self) -> object:
            nonlocal looked
            for item in super().__iter__():
                looked += 1
                yield item

    tensor = model.tensor("x")
    readers = edit.readers_of(tensor)
    tensor.__dict__["outputs"] = Counted(tensor.outputs)
    edit.replace_readers(model, edit.add_node(model, "Abs", [tensor], like=tensor).outputs[0], readers)
    assert looked <= 2 * width + 10
    assert len(list(tensor.outputs)) == 1
