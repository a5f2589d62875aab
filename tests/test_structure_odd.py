"""Predicates over graphs that nobody meant: they answer, whatever the graph is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.diag import QdslError
from qdsl.graph import load, structure
from qdsl.graph.view import GraphView, NodeView, TensorView, Use
from qdsl.passes.pipeline import canonicalise

PREDICATES = [getattr(structure, name) for name in structure.__all__ if name not in ("Spelled", "Weight")]
OPS = [
    "Conv",
    "Gemm",
    "MatMul",
    "Sigmoid",
    "HardSigmoid",
    "Mul",
    "Add",
    "Sub",
    "Div",
    "Pow",
    "Sqrt",
    "Erf",
    "Tanh",
    "Softplus",
    "Clip",
    "Concat",
    "Split",
    "Slice",
    "Reshape",
    "Transpose",
    "Softmax",
    "ReduceMean",
    "Reciprocal",
    "Resize",
    "NonMaxSuppression",
    "LSTM",
    "If",
    "DequantizeLinear",
    "Shape",
    "ConvTranspose",
]
SHAPES = st.one_of(st.none(), st.lists(st.sampled_from([1, 3, 4, "n", None]), max_size=5).map(tuple))
ATTRS = st.dictionaries(
    st.sampled_from(["axis", "group", "perm", "strides", "split", "transB", "kernel_shape"]),
    st.one_of(st.none(), st.integers(-2, 5), st.lists(st.integers(-1, 4), max_size=4).map(tuple), st.just("x")),
    max_size=3,
)


@st.composite
def views(draw: st.DrawFn) -> GraphView:
    """Any operators over any inputs in any number, with any shapes and attributes."""
    names, kinds = ["", "in", "c0", "c1"], {"in": "input", "c0": "constant", "c1": "constant"}
    nodes, producers = [], {}
    for index in range(draw(st.integers(0, 12))):
        inputs = tuple(draw(st.lists(st.sampled_from(names), max_size=4)))
        outputs = tuple(f"t{index}_{i}" for i in range(draw(st.sampled_from([1, 1, 1, 2, 0]))))
        nodes.append(NodeView(index, f"n{index}", draw(st.sampled_from(OPS)), "", inputs, outputs, draw(ATTRS), ()))
        names += outputs
        producers.update(dict.fromkeys(outputs, index))
        kinds.update(dict.fromkeys(outputs, "activation"))
    tensors = {}
    for name, kind in kinds.items():
        uses = tuple(Use(node.index, port) for node in nodes for port, read in enumerate(node.inputs) if read == name)
        tensors[name] = TensorView(name, kind, "float32", draw(SHAPES), producers.get(name), uses, False)
    small = {"c0": tuple(draw(st.lists(st.integers(-2, 5), max_size=3)))} if draw(st.booleans()) else {}
    return GraphView(tuple(nodes), tensors, ("in",), (), 17, small, "odd.onnx")


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(views())
def test_every_predicate_answers_about_any_graph(view: GraphView) -> None:
    for predicate in PREDICATES:
        found = predicate(view)
        indices = (item[0] for item in found) if predicate is structure.mixed_concats else found
        if predicate is structure.spelled:
            indices = (index for item in found for index in item.nodes)
        assert all(0 <= index < len(view.nodes) for index in indices)


def test_odd_graphs_of_others(testdata: Path) -> None:
    answered = 0
    for path in sorted((testdata / "odd").glob("*/*.onnx")):
        try:
            model = load(path)
            canonicalise(model)
        except QdslError:
            continue
        view = model.view()
        assert structure.decode_head(view) == frozenset(), path.name
        answered += all(predicate(view) is not None for predicate in PREDICATES)
    assert answered > 50


@pytest.mark.parametrize("predicate", PREDICATES)
def test_the_empty_graph(predicate) -> None:  # type: ignore[no-untyped-def]
    assert not predicate(GraphView((), {}, (), (), 17, {}, "empty.onnx"))
