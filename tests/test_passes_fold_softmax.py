"""The average over classes along the last axis: small graphs, YOLOv8's own head, and plans carried out on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graph_cases import parse
from pass_cases import Case
from plan_tools import planned
from test_plan_reality import measured

import qdsl.graph
from qdsl.graph.model import Model
from qdsl.passes.index import PASSES, lowerings_for, make
from qdsl.passes.pipeline import canonicalise
from qdsl.rewrite import run
from qdsl.targets import lowerings
from qdsl.targets.ort import emit, reality

DATA = Path(__file__).resolve().parent / "data"
EXPORTS = ("yolov8_tiny_torchscript.onnx", "yolov8_tiny_dynamo.onnx")
_CONSTANTS = (
    "int64[4] into = {1, 2, 3, 4}, int64[4] other = {1, 2, 4, 3}, int64[3] back = {1, 2, 4}, "
    "int64[3] wide = {1, 2, 2}, int64[3] flat = {1, 4, 4}, int64[3] copied = {0, 2, -1}, float[1] b = {1}, "
    "float[1, 3, 1, 1] w = {0, 1, 2}, float[2, 3, 1, 1] two = {0, 1, 2, 3, 4, 5}, "
    "float[1, 3, 1, 3] row = {0, 1, 2, 3, 4, 5, 6, 7, 8}"
)
# What carries out what a plan says beside integers, and nothing else.
OF_PLANS = tuple(name for name in lowerings_for("ort") if PASSES[name].of_plan)


def _graph(body: str, outputs: str = "float[1, 2, 4] y") -> str:
    return f"g (float[1, 6, 4] x) => ({outputs}) <{_CONSTANTS}> {{ {body} }}"


_HEAD = "r = Reshape (x, into) t = Transpose <perm = [0, 2, 1, 3]> (r) "
CASES = (
    Case("as YOLOv8 writes it", _graph(_HEAD + "s = Softmax <axis = 1> (t) c = Conv (s, w) y = Reshape (c, back)"), 1),
    Case(
        "the axis counted from behind, dims that are inferred",
        _graph(
            _HEAD + "s = Softmax <axis = -3> (t) c = Conv <kernel_shape = [1, 1], strides = [1, 1]> (s, w) "
            "infer = Constant <value_ints = [1, 2, -1]> () y = Reshape (c, infer)"
        ),
        1,
    ),
    Case(
        "the Conv is an output",
        _graph(
            _HEAD + "s = Softmax <axis = 1> (t) c = Conv (s, w) y = Reshape (c, back)",
            "float[1, 2, 4] y, float[1, 1, 2, 4] c",
        ),
        0,
        1,
    ),
    Case(
        "dims that are copied",
        _graph(_HEAD + "s = Softmax <axis = 1> (t) c = Conv (s, w) y = Reshape (c, copied)", "float[1, 2, 4] y"),
        0,
        1,
    ),
    Case("a bias", _graph(_HEAD + "s = Softmax <axis = 1> (t) c = Conv (s, w, b) y = Reshape (c, back)"), 0, 1),
    Case(
        "two output channels",
        _graph(_HEAD + "s = Softmax <axis = 1> (t) c = Conv (s, two) y = Reshape (c, flat)", "float[1, 4, 4] y"),
        0,
        1,
    ),
    Case(
        "a wider kernel, strides",
        _graph(
            _HEAD + "s = Softmax <axis = 1> (t) c = Conv (s, row) y = Reshape (c, wide) "
            "u = Transpose <perm = [0, 2, 1, 3]> (r) v = Softmax <axis = 1> (u) d = Conv <strides = [1, 2]> (v, w) "
            "z = Reshape (d, wide)",
            "float[1, 2, 2] y, float[1, 2, 2] z",
        ),
        0,
        2,
    ),
    Case(
        "the classes are last before the Transpose",
        _graph(
            "r = Reshape (x, other) t = Transpose <perm = [0, 3, 1, 2]> (r) "
            "s = Softmax <axis = 1> (t) c = Conv (s, w) y = Reshape (c, back)"
        ),
        0,
        1,
    ),
    Case(
        "a Softmax over another axis",
        _graph(_HEAD + "s = Softmax <axis = 2> (t) c = Conv (s, w) y = Reshape (c, back)"),
        0,
    ),
    Case(
        "a Softmax before opset 13",
        _graph(_HEAD + "s = Softmax <axis = 1> (t) c = Conv (s, w) y = Reshape (c, back)"),
        0,
        opset=12,
    ),
)


def _text(model: Model) -> str:
    return onnx.printer.to_text(qdsl.graph.to_proto(model).graph)


def _outputs(data: bytes) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    info = session.get_inputs()[0]
    return list(session.run(None, {info.name: np.random.default_rng(2).uniform(0, 1, info.shape).astype(np.float32)}))


def _runs(case: Case) -> tuple[Model, Model, int, tuple[str, ...]]:
    before = qdsl.graph.from_proto(parse(case.text, case.opset))
    run([make("constant_nodes")], before)
    after = before.copy()
    trace = run([make("softmax_last")], after)
    return before, after, trace.edits, tuple(f"refused {r.node}: {r.reason}" for r in trace.refused)


def test_goldens(golden: Callable[[str, str], None]) -> None:
    parts = []
    for case in CASES:
        before, after, edits, refused = _runs(case)
        end = f"-> {_text(after)}" if edits else "-> unchanged"
        parts += [f"== {case.title}", _text(before), *refused, end, ""]
    golden("passes/softmax_last.txt", "\n".join(parts))


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_edits_are_counted_and_results_do_not_change(case: Case) -> None:
    before, after, edits, refused = _runs(case)
    assert (edits, len(refused)) == (case.fires, case.refuses)
    assert (_text(before) == _text(after)) == (edits == 0)
    onnx.checker.check_model(qdsl.graph.to_proto(after), full_check=True)
    for was, now in zip(_outputs(qdsl.graph.to_bytes(before)), _outputs(qdsl.graph.to_bytes(after)), strict=True):
        np.testing.assert_allclose(now, was, rtol=1e-6, atol=1e-6)
    assert run([make("softmax_last")], after).edits == 0


@pytest.mark.parametrize("name", EXPORTS)
def test_both_exports_of_a_detector(name: str) -> None:
    model = qdsl.graph.load(DATA / name)
    canonicalise(model)
    before = model.copy()
    assert run([make("softmax_last")], model).counts == {"softmax_last": 1}
    assert [node.name for node in model.nodes()] == [node.name for node in before.nodes()]
    changed = Counter(n.op for n in model.nodes())
    changed.subtract(Counter(n.op for n in before.nodes()))
    assert {op: count for op, count in changed.items() if count} == {"Conv": -1, "MatMul": 1}
    was, now = (_outputs(qdsl.graph.to_bytes(one))[0] for one in (before, model))
    np.testing.assert_allclose(now, was, rtol=1e-6, atol=1e-6 * float(np.abs(was).max()))


def _detector() -> Model:
    """A convolution, the average over 3 classes, and an addition behind."""
    weights = ", ".join(str(i % 5 - 2) for i in range(36))
    model = qdsl.graph.from_proto(
        parse(
            f"""g (float[1, 6, 2, 2] x) => (float[1, 2, 4] y)
            <float[1, 3, 1, 1] w = {{0, 1, 2}}, int64[4] into = {{1, 2, 3, 4}}, int64[3] back = {{1, 2, 4}},
            float[6, 6, 1, 1] k = {{{weights}}}> {{
            stem = Conv (x, k) r = Reshape (stem, into) t = Transpose <perm = [0, 2, 1, 3]> (r)
            s = Softmax <axis = 1> (t) c = Conv (s, w) b = Reshape (c, back) y = Add (b, b) }}"""
        )
    )
    canonicalise(model)
    return model


NODES = ("r_Reshape", "t_Transpose", "s_Softmax", "c_Conv", "b_Reshape")


KEPT = list(product((False, True), repeat=len(NODES)))


def _carried_out(kept: Sequence[bool]) -> tuple[dict[str, str], dict[str, reality.Ran]]:
    """Predicted and real, by node."""
    model = _detector()
    names = ", ".join(f'"{name}"' for name, is_kept in zip(NODES, kept, strict=True) if is_kept)
    plan = planned(model.view(), f"keep {names} in float32\n" if names else "")
    quantized, _ = emit.quantize(model, plan, measured(model, plan, 1))
    runs = reality.read(qdsl.graph.to_bytes(quantized), counts=False).nodes
    return {node.node: node.prediction.runs for node in plan.nodes}, dict(runs)


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: "".join("01"[one] for one in kept))
def test_lowering_moves_no_node_between_integers_and_float(
    kept: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lowered or not; and where it is lowered, prediction is reality."""
    predicted, lowered = _carried_out(kept)
    monkeypatch.setattr(lowerings, "lowerings_for", lambda target: OF_PLANS)
    _, plain = _carried_out(kept)
    assert {name: ran.runs for name, ran in lowered.items()} == {name: ran.runs for name, ran in plain.items()}
    assert plain["c_Conv"].kernel != "MatMul"
    if lowered["c_Conv"].kernel == "MatMul":
        assert predicted == {name: ran.runs for name, ran in lowered.items()}
    else:
        assert not all(kept[1:4])


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTS)
def test_a_kept_decode_head_is_lowered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = tuple(name for name in lowerings_for("ort") if name != "channels_last")
    monkeypatch.setattr(lowerings, "lowerings_for", lambda target: others)
    model = qdsl.graph.load(DATA / name)
    canonicalise(model)
    plan = planned(model.view(), "keep decode_head in float32\n")
    quantized, _ = emit.quantize(model, plan, measured(model, plan, 1))
    written = {node.name for node in quantized.nodes()}
    assert {node.name for node in model.nodes()} <= written
    ran = reality.read(qdsl.graph.to_bytes(quantized))
    assert {n.node: n.prediction.runs for n in plan.nodes} == {n.node: ran.nodes[n.node].runs for n in plan.nodes}
    assert (ran.op_counts["QLinearConv"], ran.op_counts["MatMul"], ran.op_counts.get("Conv", 0)) == (63, 1, 0)


def test_the_rewritten_nodes_say_where_they_come_from() -> None:
    model = _detector()
    run([make("softmax_last")], model)
    told = {n.name: n.metadata_props[0].value for n in qdsl.graph.to_proto(model).graph.node if n.metadata_props}
    assert told == dict.fromkeys(("t_Transpose", "s_Softmax", "c_Conv"), "softmax_last")
