"""Selectors over a graph: what each picks, in graph order, and what is said when it picks nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structure_graphs import Net

from qdsl import lang
from qdsl.diag import Diagnostics
from qdsl.diag.codes.select import CODES
from qdsl.diag.render import render_all
from qdsl.graph import load
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import Edge, KeepRule, PlaceRule, Recipe
from qdsl.lang.selectors import Picks
from qdsl.passes.pipeline import canonicalise
from qdsl.select.connections import names_tensors, select_edges, select_nodes, select_tensors

DATA = Path(__file__).parent / "data"
HEADER = """\
recipe example
model onnx "yolov8n.onnx"
data calib from npz "calib.npz"
quantize static { weights int8; activations uint8; calibrate minmax on calib }
target ort
"""


@cache
def yolo() -> GraphView:
    model = load(DATA / "yolov8_tiny_torchscript.onnx")
    canonicalise(model)
    return model.view()


def parse(lines: str) -> Recipe:
    return lang.loads(HEADER + lines + "\n", name="example.q").recipe


def picks(text: str, before: str = "") -> tuple[Picks, dict[str, str]]:
    recipe = parse(f"{before}\nkeep {text} in float32")
    rule = next(rule for rule in recipe.rules if isinstance(rule, KeepRule))
    return rule.picks, recipe.sources


def nodes(view: GraphView, text: str, before: str = "") -> list[str]:
    diags = Diagnostics()
    found = select_nodes(picks(text, before)[0], view, diags)
    assert not diags.has_errors, [d.headline for d in diags]
    return [view.nodes[index].name for index in found]


def edges(view: GraphView, text: str) -> tuple[tuple[tuple[int, int, int], ...], Diagnostics]:
    rule = next(r for r in parse(f"place {{ leave {text} }}").rules if isinstance(r, PlaceRule))
    diags = Diagnostics()
    assert isinstance(rule.where, Edge)
    return select_edges(rule.where, view, diags), diags


@cache
def chain() -> GraphView:
    """stem -> relu -> (left | right) -> add -> pool -> last, with a MatMul at the end."""
    net = Net()
    x = net.op("Relu", net.conv(net.input("in", 1, 3, 8, 8), 8, kernel=3, name="/stem/Conv"), name="/stem/Relu")
    left = net.conv(x, 8, name="/left/Conv")
    right = net.conv(x, 8, kernel=3, group=8, name="/right/Conv")
    y = net.op("Add", left, right, name="/Add")
    y = net.op("Flatten", net.op("GlobalAveragePool", y, name="/pool/Pool"), name="/Flatten")
    return net.view(net.op("MatMul", y, net.constant(8, 4), name="/last/MatMul"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("op Conv", ["/stem/Conv", "/left/Conv", "/right/Conv"]),
        ("op [MatMul, Add, Gelu]", ["/Add", "/last/MatMul"]),
        ('"/last/MatMul", "/Add"', ["/Add", "/last/MatMul"]),
        ('"/?????/Conv"', ["/right/Conv"]),
        ('["*/Relu", "/s*v"]', ["/stem/Conv", "/stem/Relu"]),
        ('matching "^/(left|stem)/C"', ["/stem/Conv", "/left/Conv"]),
        ('under "/stem"', ["/stem/Conv", "/stem/Relu"]),
        ('under ["/stem/", "/pool"]', ["/stem/Conv", "/stem/Relu", "/pool/Pool"]),
        ("first 2 of op Conv", ["/stem/Conv", "/left/Conv"]),
        ("last 1 of op Conv or op Add", ["/Add"]),
        ("op Conv and not depthwise", ["/stem/Conv", "/left/Conv"]),
        ("op Conv and (pointwise or depthwise)", ["/left/Conv", "/right/Conv"]),
        ("depthwise, pointwise expect 2", ["/left/Conv", "/right/Conv"]),
        ("out_channels < 8", ["/last/MatMul"]),
        ("in_channels == 3", ["/stem/Conv"]),
        ("groups > 1", ["/right/Conv"]),
        ("kernel == [1, 1]", ["/left/Conv"]),
        ("kernel != [1, 1]", ["/stem/Conv", "/right/Conv"]),
        ("kernel >= 3", ["/stem/Conv", "/right/Conv"]),
        ("stride == 1 and groups == 1", ["/stem/Conv", "/left/Conv"]),
        ("elements <= 8", ["/pool/Pool", "/Flatten", "/last/MatMul"]),
        ("activation", ["/stem/Relu"]),
        ('between "/left/Conv" and "/Flatten"', ["/left/Conv", "/Add", "/pool/Pool", "/Flatten"]),
        ("between op Relu and op Add", ["/stem/Relu", "/left/Conv", "/right/Conv", "/Add"]),
        ('between tensor "in" and op Relu', ["/stem/Conv", "/stem/Relu"]),
        ("op Add and op Conv expect 0", []),
        ('"/nothing/*" expect 0', []),
    ],
)
def test_what_a_selector_picks(text: str, found: list[str]) -> None:
    assert nodes(chain(), text) == found


def test_all_is_every_node_and_not_all_is_an_error() -> None:
    view = chain()
    assert nodes(view, "all") == [node.name for node in view.nodes]
    diags = Diagnostics()
    assert select_nodes(picks("not all")[0], view, diags) == ()
    assert [d.code for d in diags] == ["selector-empty"]


def test_a_named_select_is_its_definition() -> None:
    before = 'select ends = "/stem/Conv", op MatMul expect 2\nselect rest = not ends and op Conv'
    assert nodes(chain(), "rest or ends and op MatMul", before) == ["/left/Conv", "/right/Conv", "/last/MatMul"]


def test_an_operator_inside_a_silu_is_picked_by_its_name() -> None:
    view = yolo()
    assert len(nodes(view, "op Sigmoid")) == len(nodes(view, "op Sigmoid and silu")) + 1


def test_the_head_of_a_detector_and_what_is_around_it() -> None:
    view = yolo()
    assert nodes(view, "op Conv and decode_head") == ["/model.22/dfl/conv/Conv"]
    assert len(nodes(view, "op Conv and not decode_head expect 63")) == 63
    assert len(nodes(view, '["*/cv2.?.2/Conv", "*/cv3.?.2/Conv"] expect 6')) == 6
    assert set(nodes(view, "decode_head")) < set(nodes(view, 'under "/model.22"'))


def test_residuals_of_a_real_classifier(testdata: Path) -> None:
    model = load(testdata / "models/mlperf_resnet8_float.onnx")
    canonicalise(model)
    assert len(nodes(model.view(), "residual_add expect 3")) == 3


def test_tensors_are_picked_by_name_with_graph_inputs_first() -> None:
    diags = Diagnostics()
    found = select_tensors(picks('tensor ["/stem/*", "in"]')[0], chain(), diags)
    assert found == ("in", "/stem/Conv_out", "/stem/Relu_out")
    found = select_tensors(picks('tensor "*Conv_out" and not tensor "/left/*"')[0], chain(), diags)
    assert found == ("/stem/Conv_out", "/right/Conv_out")
    assert select_tensors(picks('last 1 of tensor "*"')[0], chain(), diags) == ("/last/MatMul_out",)
    assert not diags.has_errors


def test_whether_a_selector_names_tensors() -> None:
    assert names_tensors(picks('tensor "x" and not tensor "y"')[0])
    assert not names_tensors(picks("op Conv")[0])
    assert not names_tensors(picks('tensor "x" and op Conv')[0])


def test_edges_are_direct_connections_with_their_port() -> None:
    view = chain()
    index = view.node_index
    found, diags = edges(view, "op Conv -> op Add expect 2")
    assert found == ((index["/left/Conv"], index["/Add"], 0), (index["/right/Conv"], index["/Add"], 1))
    found, _ = edges(view, 'tensor "in" -> op Conv')
    assert found == ((-1, index["/stem/Conv"], 0),)
    assert not diags.has_errors


FAULTY = [
    ("empty_scope", 'keep under "/model.23" and op Concat in float32'),
    ("empty_name", 'keep "/model.22/cv2.0/cv2.0.3/Conv" in float32'),
    ("empty_pattern", 'keep ["*/cv2.?.2/Conv", "*/cv9.?.2/Conv"] in float32'),
    ("empty_name_under_not", 'keep op Conv and not "/model.99/conv/Conv" in float32'),
    ("a_tensor_for_a_node", 'keep "/model.0/conv/Conv_output_0" in float32'),
    ("a_scope_for_a_node", 'keep "/model.0/conv" in float32'),
    ("a_node_for_a_tensor", 'place { leave tensor "/model.0/conv/Conv" }'),
    ("empty_operator", "keep op [LSTM, GRU] in float32"),
    ("folded_operator", "keep op BatchNormalization in float32"),
    ("empty_condition", "keep out_channels > 100000 in float32"),
    ("empty_predicate", "keep layer_norm or gelu in float32"),
    ("empty_intersection", "keep depthwise and op Relu or op Conv and silu in float32"),
    ("empty_regex", 'keep matching "^model" in float32'),
    ("empty_select", 'select head = under "/head"\nkeep head in float32\nkeep not head in float32'),
    ("empty_edge", "place { leave op Conv -> op Concat expect 3; leave op Resize -> op Conv }"),
    ("wrong_count", "keep decode_head expect 3 in float32"),
    ("wrong_count_inside", "keep not (op Resize expect 1) in float32"),
    ("unknown_operator", "keep op [Conv, Convolution, maxpool] in float32"),
    ("too_few", "keep last 3 of op Resize in float32"),
    ("no_path", 'keep between op Softmax and "/model.0/conv/Conv" in float32'),
    ("kinds", 'keep op Conv and tensor "images" in float32'),
    ("several_at_once", 'keep op Cnov in float32\nkeep "/nope" or op Rleu in float32'),
]


def said(lines: str) -> tuple[Diagnostics, str]:
    """Everything that the rules of a recipe say over the example's model."""
    recipe, diags, view = parse(lines), Diagnostics(), yolo()
    for rule in recipe.rules:
        if isinstance(rule, KeepRule):
            select_nodes(rule.picks, view, diags)
        elif isinstance(rule, PlaceRule) and isinstance(rule.where, Edge):
            select_edges(rule.where, view, diags)
        elif isinstance(rule, PlaceRule) and isinstance(rule.where, Picks):
            select_tensors(rule.where, view, diags)
    return diags, render_all(diags.sorted(), recipe.sources)


def test_what_is_said(golden) -> None:  # type: ignore[no-untyped-def]
    parts = []
    for name, lines in FAULTY:
        diags, text = said(lines)
        assert diags.has_errors, name
        parts.append(f"== {name}\n{text}\n")
    golden("select/diagnostics.txt", "\n".join(parts))


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_has_an_example_that_raises_it(code: str) -> None:
    example = CODES[code].example
    lines = "\n".join(line for line in example.splitlines() if line not in HEADER.splitlines())
    diags, _ = said(lines)
    assert {d.code for d in diags} == {code}


def test_a_wrong_select_used_twice_is_reported_once() -> None:
    diags, _ = said('select head = under "/head"\nkeep head in float32\nkeep op Conv and head in float32')
    assert len(diags) == 1


@st.composite
def dags(draw: st.DrawFn) -> tuple[GraphView, list[set[int]]]:
    """A random graph of Adds and, per node, whom it reads."""
    size = draw(st.integers(2, 9))
    net = Net()
    tensors, reads = [net.input("in", 1)], []
    for i in range(size):
        pair = draw(st.tuples(st.integers(0, i), st.integers(0, i)))
        tensors.append(net.op("Add", tensors[pair[0]], tensors[pair[1]], name=f"n{i}"))
        reads.append({at - 1 for at in pair if at})
    return net.view(*tensors[1:]), reads


@settings(max_examples=60, deadline=None)
@given(dags(), st.data())
def test_between_is_the_union_of_all_paths(graph: tuple[GraphView, list[set[int]]], data: st.DataObject) -> None:
    view, reads = graph
    ends = st.sets(st.integers(0, len(reads) - 1), min_size=1, max_size=3)
    starts, goals = data.draw(ends), data.draw(ends)

    def paths(at: int) -> list[list[int]]:
        """Every path from a start to `at`, one by one."""
        longer = [[*path, at] for source in reads[at] for path in paths(source)]
        return longer + ([[at]] if at in starts else [])

    expected = {f"n{node}" for goal in goals for path in paths(goal) for node in path}
    quoted = [", ".join(f'"n{i}"' for i in sorted(some)) for some in (starts, goals)]
    chosen, _ = picks(f"between [{quoted[0]}] and [{quoted[1]}]")
    diags = Diagnostics()
    found = {view.nodes[i].name for i in select_nodes(chosen, view, diags)}
    assert found == expected
    assert diags.has_errors is (not expected)
