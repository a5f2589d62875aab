"""Loading: names, scopes, shapes, versions, bodies, functions; and the side of a model that graphsurgeon forgets."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_cases import IF_TEXT, conv_model, parse
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

import qdsl.graph
from qdsl.diag import QdslError
from qdsl.graph import edit
from qdsl.graph.meta import scopes_of
from qdsl.graph.view import Use


def _again(proto: ModelProto) -> ModelProto:
    return qdsl.graph.to_proto(qdsl.graph.from_proto(proto))


def test_a_view_holds_what_selectors_ask_for() -> None:
    view = qdsl.graph.from_proto(conv_model()).view()
    conv, relu = view.nodes
    assert (conv.op, conv.inputs, conv.outputs, conv.attrs) == ("Conv", ("x", "w"), ("c",), {"kernel_shape": (3, 3)})
    assert relu.scopes == ("/a", "/a/act")
    assert view.tensors["c"].shape == ("N", 2, 6, 6) and view.tensors["c"].dtype == "float32"
    assert view.tensors["c"].uses == (Use(1, 0),) and view.tensors["c"].producer == 0
    assert view.tensors["w"].kind == "constant" and view.tensors["w"].elements == 54
    assert (view.inputs, view.outputs, view.opset) == (("x",), ("y",), 17)
    assert view.small["w"][0] == -1.0


def test_missing_and_repeated_names_become_unique_and_the_first_keeps_its_own() -> None:
    proto = parse("g (float[4] x) => (float[4] z) { [a] y = Relu (x) [a] w = Neg (y) z = Abs (w) }")
    names = [node.name for node in qdsl.graph.from_proto(proto).view().nodes]
    assert names == ["a", "w_Neg", "z_Abs"]


@pytest.mark.parametrize(
    ("name", "listed", "expected"),
    [
        ("/model.2/cv2.0/cv2.0.0/conv/Conv", None, ("/model.2", "/model.2/cv2.0", "/model.2/cv2.0/cv2.0.0")),
        ("n", "['', 'model.2', 'model.2.cv2.0', 'model.2.cv2.0.0', 'conv2d']", None),
        ("/backbone/backbone.1/m.0/Add", None, ("/backbone", "/backbone/backbone.1", "/backbone/backbone.1/m.0")),
        ("n", "['', 'backbone', 'backbone.1', 'backbone.1.m.0', 'add']", None),
        ("n", "['', 'head', 'shared.conv', 'conv2d']", ("/head", "/head/shared.conv")),
        ("features/conv/Conv2D", None, ("/features", "/features/conv")),
        ("Conv_0", None, ()),
        ("n", "__import__('os')", ()),
        ("n", "[" * 5000, ()),
        ("n", "['a', 3]", ()),
    ],
)
def test_both_exporters_give_the_same_scopes(name: str, listed: str | None, expected: tuple[str, ...] | None) -> None:
    metadata = {} if listed is None else {"pkg.torch.onnx.name_scopes": listed}
    scopes = scopes_of(name, metadata)
    if expected is None:  # the dynamo form of the TorchScript case before it
        expected = {"model": ("/model.2", "/model.2/cv2.0", "/model.2/cv2.0/cv2.0.0")}.get(
            str(listed)[6:11], ("/backbone", "/backbone/backbone.1", "/backbone/backbone.1/m.0")
        )
    assert scopes[: len(expected)] == expected and len(scopes) <= len(expected) + 1


def test_nothing_is_lost_on_a_round_trip() -> None:
    proto = conv_model()
    proto.producer_name, proto.producer_version, proto.domain = "maker", "1.2", "some.domain"
    proto.model_version, proto.doc_string = 7, "a model"
    proto.metadata_props.add(key="author", value="someone")
    proto.graph.doc_string = "a graph"
    proto.graph.metadata_props.add(key="k", value="v")
    proto.graph.input[0].doc_string = "pixels"
    conv = proto.graph.node[0]
    conv.doc_string = "a node"
    conv.metadata_props.add(key="origin", value="line 3")
    conv.attribute.append(helper.make_attribute("pads", [], attr_type=onnx.AttributeProto.INTS))
    annotation = proto.graph.quantization_annotation.add(tensor_name="c")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale_of_c")
    proto.graph.initializer.append(numpy_helper.from_array(np.float32([0.5]), "scale_of_c"))
    back = _again(proto)
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string", "ir_version"):
        assert getattr(back, field) == getattr(proto, field)
    assert list(back.metadata_props) == list(proto.metadata_props)
    assert back.graph.doc_string == "a graph" and back.graph.metadata_props[0].value == "v"
    assert back.graph.input[0] == proto.graph.input[0]
    assert list(back.graph.node) == list(proto.graph.node)
    assert list(back.graph.quantization_annotation) == list(proto.graph.quantization_annotation)
    assert {t.name for t in back.graph.initializer} == {"w", "scale_of_c"}


def test_paths_of_the_exporters_machine_are_stripped_everywhere() -> None:
    proto = parse(IF_TEXT)
    body = proto.graph.node[1].attribute[0].g.node[0]
    for node in (proto.graph.node[0], body):
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/somebody/train.py")
        node.metadata_props.add(key="kept", value="yes")
    text = qdsl.graph.to_bytes(qdsl.graph.from_proto(proto))
    assert b"somebody" not in text and text.count(b"kept") == 2


def test_tensors_read_inside_bodies_count_as_used() -> None:
    model = qdsl.graph.from_proto(parse(IF_TEXT))
    view = model.view()
    assert view.tensors["outer"].uses == (Use(1, -1),)
    assert [node.op for node in view.consumers("outer")] == ["If"]
    assert [d.code for d in model.diagnostics if d.code == "model-body"]
    again = _again(parse(IF_TEXT))
    assert again.graph.node[1].attribute[0] == parse(IF_TEXT).graph.node[1].attribute[0]


def test_local_functions_are_expanded() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    g (float[4] x) => (float[4] y) { a = own.Twice(x) y = own.Twice(a) }
    <domain: "own", opset_import: ["" : 17]> Twice (p) => (q) { q = Add(p, p) }"""
    model = qdsl.graph.from_proto(parser.parse_model(text))
    assert [node.op for node in model.view().nodes] == ["Add", "Add"]


def test_functions_that_explode_are_refused() -> None:
    functions = "".join(
        f'<domain: "own", opset_import: ["" : 17, "own" : 1]>'
        f" F{i + 1} (p) => (q) {{ a = own.F{i}(p) q = own.F{i}(a) }}\n"
        for i in range(40)
    )
    text = f"""<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    g (float[4] x) => (float[4] y) {{ y = own.F40(x) }}
    <domain: "own", opset_import: ["" : 17]> F0 (p) => (q) {{ q = Neg(p) }}
    {functions}"""
    with pytest.raises(QdslError, match="model-functions"):
        qdsl.graph.from_proto(parser.parse_model(text))


@pytest.mark.parametrize(
    ("opset", "ir", "written"), [(7, 3, 4), (11, 3, 6), (13, 6, 7), (17, 8, 8), (21, 13, 13), (26, 14, 13)]
)
def test_ir_version_fits_the_opset_and_onnx_runtime(opset: int, ir: int, written: int) -> None:
    proto = parse("g (float[4] x) => (float[4] y) { y = Relu (x) }", opset)
    proto.ir_version = ir
    back = _again(proto)
    assert (back.ir_version, back.opset_import[0].version) == (written, opset)


@pytest.mark.parametrize("opset", [1, 6, 27, 28, 2**40])
def test_other_opsets_are_refused(opset: int) -> None:
    with pytest.raises(QdslError, match="model-opset"):
        qdsl.graph.from_proto(parse("g (float[4] x) => (float[4] y) { y = Relu (x) }", opset))


@pytest.mark.slow
def test_a_reversed_graph_is_sorted_without_recursion() -> None:
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"], name=f"n{i}") for i in range(5000)]
    inputs, outputs = ([helper.make_tensor_value_info(name, 1, [4])] for name in ("t0", "t5000"))
    for order in (nodes[::-1], random.Random(3).sample(nodes, len(nodes))):
        graph = helper.make_graph(order, "g", list(inputs), list(outputs))
        model = qdsl.graph.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
        assert [node.name for node in model.view().nodes] == [f"n{i}" for i in range(5000)]


def test_an_ordered_graph_keeps_its_order() -> None:
    proto = parse(
        "g (float[4] x) => (float[4] z) { a = Relu (x) b = Neg (x) c = Abs (x) d = Add (c, a) z = Add (d, b) }"
    )
    assert [node.outputs[0] for node in qdsl.graph.from_proto(proto).view().nodes] == ["a", "b", "c", "d", "z"]


def test_fixing_a_free_dimension_moves_through_the_graph() -> None:
    model = qdsl.graph.from_proto(conv_model())
    model.set_shape("x", [4, 3, 8, 8])
    view = model.view()
    assert view.tensors["c"].shape == (4, 2, 6, 6) and view.tensors["y"].shape == (4, 2, 6, 6)
    for wrong in ([4, 3, 9, 8], [4, 3, 8], [0, 3, 8, 8], [2**40, 3, 8, 8]):
        with pytest.raises(QdslError, match="model-input-shape"):
            qdsl.graph.from_proto(conv_model()).set_shape("x", wrong)


def test_negative_declared_dims_are_unknown() -> None:
    proto = parse("g (float[4] x) => (float[4] y) { y = Relu (x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert qdsl.graph.from_proto(proto).view().tensors["x"].shape == (None,)


def test_sequences_and_optionals_pass_through() -> None:
    proto = parse("g (seq(float[4]) s, int64 i) => (float[4] y) { y = SequenceAt (s, i) }")
    assert _again(proto).graph.input[0] == proto.graph.input[0]


def test_sparse_initializers_pass_through_and_read_dense() -> None:
    proto = parse("g (float[4] x) => (float[4] y) { y = Add (x, s) z = Identity (s) }")
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [5.0, 7.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [0, 3])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    model = qdsl.graph.from_proto(proto)
    assert model.values("s").tolist() == [5, 0, 0, 7]
    assert list(qdsl.graph.to_proto(model).graph.sparse_initializer) == list(proto.graph.sparse_initializer)
    proto.graph.sparse_initializer[0].indices.int64_data[1] = 4
    with pytest.raises(QdslError, match="model-tensor-size"):
        qdsl.graph.from_proto(proto)


def test_a_copy_is_independent_and_shares_values() -> None:
    model = qdsl.graph.from_proto(conv_model())
    twin = model.copy()
    edit.rename_tensor(twin, twin.tensor("c"), "other")
    assert model.view().nodes[0].outputs == ("c",) and twin.view().nodes[0].outputs == ("other",)
    assert model.lazy("w") is twin.lazy("w")


def test_two_loads_give_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(conv_model(), path)
    first = qdsl.graph.to_bytes(qdsl.graph.load(path))
    assert first == qdsl.graph.to_bytes(qdsl.graph.load(path))
    assert first == qdsl.graph.to_bytes(qdsl.graph.from_proto(onnx.load_from_string(first)))


def test_importing_the_package_loads_neither_numpy_nor_onnx() -> None:
    modules = "qdsl.graph, qdsl.graph.view, qdsl.rewrite, qdsl.passes.index"
    code = f"import sys, {modules}; print({{'numpy', 'onnx'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


LOOP = """g (float[2] x) => (float[2] y) <int64 n = {3}, bool go = {1}> {
  [l] y = Loop (%s, x) <body = b (int64 i, bool c, float[2] s) => (bool o, float[2] t) {
    o = Identity (c) t = Add (s, s) }> }"""


@pytest.mark.parametrize("given", ["n, go", "n, ", ", go"])
def test_a_loop_may_leave_out_its_count_or_its_condition(given: str) -> None:
    proto = parse(LOOP % "n, go")
    proto.graph.node[0].input[:] = [*(name.strip() for name in given.split(",")), "x"]
    model = qdsl.graph.from_proto(proto)
    assert list(_again(proto).graph.node[0].input) == list(proto.graph.node[0].input)
    assert model.view().node("l").inputs == tuple(proto.graph.node[0].input)


def test_an_input_that_is_needed_may_not_be_empty() -> None:
    proto = parse("g (float[2] x) => (float[2] y) { [a] y = Add (x, x) }")
    proto.graph.node[0].input[1] = ""
    with pytest.raises(QdslError, match="a required input is absent"):
        qdsl.graph.from_proto(proto)


def test_empty_names_at_the_end_are_as_good_as_none() -> None:
    """But for those of a body's results, which are counted."""
    proto = parse("g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y) { [m] y = MaxPool <kernel_shape = [3, 3]> (x) }")
    proto.graph.node[0].output.append("")
    assert qdsl.graph.from_proto(proto).view().node("m").outputs == ("y",)
    clip = parse("g (float[2] x) => (float[2] y) <float z = {0}> { [c] y = Clip (x, z) }")
    clip.graph.node[0].input[:] = ["x", "", ""]
    assert qdsl.graph.from_proto(clip).view().node("c").inputs == ("x",)
    loop = parse(LOOP % "n, go")
    loop.graph.node[0].output.append("")
    assert qdsl.graph.from_proto(loop).view().node("l").outputs == ("y", "")
