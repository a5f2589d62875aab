"""Steps from node to node mean the same over a model, its view and a sketch of it."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto, helper

from qdsl.graph import Model, from_proto
from qdsl.graph.view import GraphView
from qdsl.graph.walk import chain, inner, only_reader, only_writer
from qdsl.rewrite.sketch import Sketch

FLOAT = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])


def value(name: str, kind: Any = FLOAT) -> Any:
    return helper.make_value_info(name, kind)


@pytest.fixture
def model() -> Model:
    """`alone` has one reader, `twice` one that reads it at both ports, `shared` two, `shown` is an output as well,
    `named` is also read in the body of an If, and nobody reads `unread`."""
    body = helper.make_graph([helper.make_node("Neg", ["named"], ["inside"], name="in")], "body", [], [value("inside")])
    ops = [
        ("Relu", ["x"], ["alone"]),
        ("Exp", ["alone"], ["twice"]),
        ("Mul", ["twice", "twice"], ["shared"]),
        ("Neg", ["shared"], ["shown"]),
        ("Abs", ["shared"], ["named"]),
        ("Sqrt", ["named"], ["y"]),
        ("Tanh", ["shown"], ["unread"]),
    ]
    nodes = [helper.make_node(op, reads, writes, name=writes[0]) for op, reads, writes in ops]
    nodes.append(helper.make_node("If", ["cond"], ["z"], name="z", then_branch=body, else_branch=body))
    cond = value("cond", helper.make_tensor_type_proto(TensorProto.BOOL, []))
    outputs = [value(name) for name in ("shown", "y", "z")]
    graph = helper.make_graph(nodes, "walk", [value("x"), cond], outputs)
    return from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def name_of(node: Any) -> str | None:
    return None if node is None else node.name


def told(graph: Any, at: Any) -> tuple[Any, ...]:
    ports = next((count for count in range(4) if inner(graph, at, count)), None)
    return ports, name_of(only_reader(graph, at)), name_of(only_writer(graph, at))


EXPECTED = {
    "x": (1, "alone", None),
    "alone": (1, "twice", "alone"),
    "twice": (2, None, None),
    "shared": (2, None, None),
    "shown": (None, None, None),
    "named": (None, None, None),
    "unread": (0, None, None),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_model_its_view_and_its_sketch_tell_the_same(name: str, model: Model) -> None:
    view: GraphView = model.view()
    sketch = Sketch(view)
    assert told(model, model.tensor(name)) == told(view, name) == EXPECTED[name]
    assert told(sketch, sketch.tensor(name)) == EXPECTED[name]


def test_users_come_once_for_each_port(model: Model) -> None:
    view = model.view()
    assert [node.name for node in view.users("twice")] == ["shared", "shared"]
    assert [node.name for node in model.users(model.tensor("twice"))] == ["shared", "shared"]
    assert name_of(model.producer(model.tensor("named"))) == name_of(view.producer("named")) == "named"


@pytest.mark.parametrize(
    ("tensor", "ops", "names"),
    [
        ("shared", ("Relu", "Exp", "Mul"), ("alone", "twice", "shared")),
        ("y", ("Abs", "Sqrt"), ("named", "y")),
        ("shared", ("Exp", "Relu", "Mul"), None),
        ("alone", ("Exp", "Relu"), None),
        ("x", ("Relu",), None),
    ],
)
def test_a_chain_is_found_by_its_end(
    tensor: str, ops: tuple[str, ...], names: tuple[str, ...] | None, model: Model
) -> None:
    found = [chain(model.view(), tensor, *ops), chain(model, model.tensor(tensor), *ops)]
    assert [nodes and tuple(node.name for node in nodes) for nodes in found] == [names, names]
