"""A Concat between pairs of one scale joins integers: small graphs, random ones, what the plan says and what runs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graph_cases import parse
from pass_cases import Case
from plan_tools import HEAD, decided, planned
from quantized import SmallPlan, model_of, origins
from random_graphs import random_decisions, random_model
from seeds import few_of
from test_emit import ranges_for, ranges_of, samples
from test_plan_reality import measured
from test_predict_random import difference, wide_ranges, written

import qdsl.graph
from qdsl.capability import load
from qdsl.describe.explain import explain
from qdsl.graph import Model, from_proto, to_bytes, to_proto
from qdsl.passes.concat_integers import BECAUSE, ConcatIntegers
from qdsl.passes.index import PASSES, lowerings_for, make
from qdsl.passes.pipeline import canonicalise
from qdsl.predict.edges import edges_of_plan
from qdsl.rewrite import Trace, run
from qdsl.spec.plan import Plan
from qdsl.targets import lowerings
from qdsl.targets.ort import emit
from qdsl.targets.ort.layers import layers
from qdsl.targets.ort.predict import predict, refused_tensors
from qdsl.targets.ort.reality import read
from qdsl.targets.ort.verify import verify

DATA = Path(__file__).resolve().parent / "data"
TABLE = load("ort_cpu")
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")

# ---- the pass --------------------------------------------------------------------------------------------------------

_CONSTANTS = (
    "float s = {0.05}, float t = {0.07}, float same = {0.05}, uint8 z = {100}, uint8 u = {90}, int8 n = {-3}, "
    "uint16 w = {3000}, float[2] sc = {0.05, 0.05}, uint8[2] zc = {100, 100}, "
    "uint8[1, 1, 3] k = {1, 100, 250}"
)
_IN = "q = QuantizeLinear (a, s, z) x = DequantizeLinear (q, s, z) p = QuantizeLinear (b, s, z) "
_IN += "v = DequantizeLinear (p, s, z) "
_OUT = "e = QuantizeLinear (c, s, z) y = DequantizeLinear (e, s, z)"
_JOIN = "c = Concat <axis = 1> (x, v) "
# What carries out what a plan says beside integers, and nothing else.
OF_PLANS = tuple(name for name in lowerings_for("ort") if PASSES[name].of_plan)


def _graph(body: str, outputs: str = "float[1, 4, 3] y") -> str:
    return f"g (float[1, 2, 3] a, float[1, 2, 3] b) => ({outputs}) <{_CONSTANTS}> {{ {body} }}"


CASES = (
    Case("one scale", _graph(_IN + _JOIN + _OUT), 1),
    Case(
        "a second reader of a DequantizeLinear, which stays",
        _graph(_IN + _JOIN + _OUT + " i = Neg (v)", "float[1, 4, 3] y, float[1, 2, 3] i"),
        1,
    ),
    Case(
        "a DequantizeLinear that is an output, which stays",
        _graph(_IN + _JOIN + _OUT, "float[1, 4, 3] y, float[1, 2, 3] x"),
        1,
    ),
    Case(
        "two that read the integers",
        _graph(
            _IN + _JOIN + _OUT + " r = DequantizeLinear (e, s, z) i = Neg (r)", "float[1, 4, 3] y, float[?, ?, ?] i"
        ),
        1,
    ),
    Case("one input, twice", _graph(_IN + "c = Concat <axis = 1> (x, x) " + _OUT + " i = Neg (v)"), 1),
    Case(
        "one behind the other",
        _graph(
            _IN + _JOIN + "e = QuantizeLinear (c, s, z) f = DequantizeLinear (e, s, z) d = Concat <axis = 1> (f, x) "
            "h = QuantizeLinear (d, s, z) y = DequantizeLinear (h, s, z)",
            "float[1, 6, 3] y",
        ),
        2,
    ),
    Case(
        "a constant among the inputs",
        _graph(
            _IN + "o = DequantizeLinear (k, s, z) c = Concat <axis = 1> (x, o, v) " + _OUT,
            "float[1, 5, 3] y",
        ),
        1,
    ),
    Case("another scale before", _graph(_IN.replace("(b, s", "(b, t").replace("(p, s", "(p, t") + _JOIN + _OUT), 0, 1),
    Case("another scale behind", _graph(_IN + _JOIN + _OUT.replace("s, z", "t, z")), 0, 1),
    Case("another zero point", _graph(_IN + _JOIN + _OUT.replace("s, z", "s, u")), 0, 1),
    Case("a scale that only happens to be equal", _graph(_IN + _JOIN + _OUT.replace("s, z", "same, z")), 0, 1),
    Case("int8", _graph((_IN + _JOIN + _OUT).replace("s, z", "s, n")), 0, 1),
    Case("uint16", _graph((_IN + _JOIN + _OUT).replace("s, z", "s, w")), 0, 1, 21),
    Case("no zero point", _graph((_IN + _JOIN + _OUT).replace("s, z", "s")), 0, 1),
    Case(
        "per channel",
        _graph((_IN + _JOIN.replace("1", "2") + _OUT).replace("s, z", "sc, zc"), "float[1, 2, 6] y"),
        0,
        1,
    ),
    Case("the floats are a graph output", _graph(_IN + _JOIN + _OUT, "float[1, 4, 3] y, float[1, 4, 3] c"), 0, 1),
    Case(
        "the floats have a second reader",
        _graph(_IN + _JOIN + _OUT + " i = Neg (c)", "float[1, 4, 3] y, float[1, 4, 3] i"),
        0,
        1,
    ),
    Case(
        "the result is quantized twice",
        _graph(
            _IN + _JOIN + _OUT + " f = QuantizeLinear (c, t, z) i = DequantizeLinear (f, t, z)",
            "float[1, 4, 3] y, float[1, 4, 3] i",
        ),
        0,
        1,
    ),
    Case("a Relu between", _graph(_IN + _JOIN + "r = Relu (c) " + _OUT.replace("(c", "(r")), 0, 1),
    Case("a float input", _graph(_IN + "c = Concat <axis = 1> (x, b) " + _OUT + " i = Neg (v)"), 0),
    Case("a float output", _graph(_IN + "y = Concat <axis = 1> (x, v)"), 0, 1),
)
IDS = [case.title for case in CASES]


def _runs(case: Case) -> tuple[Model, Model, Trace]:
    before = from_proto(parse(case.text, case.opset))
    after = before.copy()
    return before, after, run([make("concat_integers")], after)


def _outputs(data: bytes, level: str) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    drawn = np.random.default_rng(2)
    feeds = {i.name: drawn.uniform(-9, 9, i.shape).astype(np.float32) for i in session.get_inputs()}
    return list(session.run(None, feeds))


def _text(model: Model) -> str:
    return onnx.printer.to_text(to_proto(model).graph)


def test_goldens(golden: Callable[[str, str], None]) -> None:
    parts = []
    for case in CASES:
        before, after, trace = _runs(case)
        refused = [f"refused {r.node}: {r.reason}" for r in trace.refused]
        parts += [f"== {case.title}", _text(before), *refused]
        parts += [f"-> {_text(after)}" if trace.edits else "-> unchanged", ""]
    golden("passes/concat_integers.txt", "\n".join(parts))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_edits_are_counted_and_results_stay_bit_for_bit(case: Case) -> None:
    before, after, trace = _runs(case)
    assert (trace.edits, len(trace.refused)) == (case.fires, case.refuses)
    assert (_text(before) == _text(after)) == (trace.edits == 0)
    onnx.checker.check_model(to_proto(after), full_check=True)
    assert [n.name for n in after.nodes() if n.op == "Concat"] == [n.name for n in before.nodes() if n.op == "Concat"]
    for level in LEVELS:
        for was, now in zip(_outputs(to_bytes(before), level), _outputs(to_bytes(after), level), strict=True):
            np.testing.assert_array_equal(was, now)
    assert run([make("concat_integers")], after).edits == 0


@pytest.mark.parametrize("opset", [10, 13, 17, 21, 25])
def test_every_opset_with_pairs_has_concat_of_uint8(opset: int) -> None:
    assert "tensor(uint8)" in onnx.defs.get_schema("Concat", opset).type_constraints[0].allowed_type_strs
    _, after, trace = _runs(Case("one scale", CASES[0].text, 1, opset=opset))
    assert trace.edits == 1
    onnx.checker.check_model(to_proto(after), full_check=True)


def test_what_a_body_reads_by_name_stays() -> None:
    body = (
        "i = If (flag) <then_branch = one () => (float[1, 4, 3] o) { o = Neg (c) }, "
        "else_branch = other () => (float[1, 4, 3] o) { o = Abs (c) }>"
    )
    text = _graph(_IN + _JOIN + _OUT + body, "float[1, 4, 3] y, float[1, 4, 3] i").replace("b) =>", "b, bool flag) =>")
    model = from_proto(parse(text))
    trace = run([make("concat_integers")], model)
    assert trace.edits == 0 and len(trace.refused) == 1


def test_the_node_says_where_it_comes_from() -> None:
    _, after, _ = _runs(CASES[0])
    assert origins(to_proto(after).graph.node) == {"c_Concat": "concat_integers"}


# ---- prediction and reality ------------------------------------------------------------------------------------------


def shared(plan: SmallPlan, model: Model, seed: int) -> SmallPlan:
    """`plan`, with one scale around most of the Concats."""
    rng = random.Random(seed)
    tensors = {each.tensor: each for each in plan.tensors}
    for node in model.view().nodes:
        if node.op != "Concat" or rng.random() < 0.15:
            continue
        members = [name for name in (*node.inputs, *node.outputs) if name in tensors]
        groups = {tensors[name].group for name in members}
        for name, each in tensors.items():
            if members and each.group in groups:
                first = tensors[members[0]]
                tensors[name] = replace(each, group=first.group, scheme=first.scheme)
    return replace(plan, tensors=tuple(tensors.values()))


def _planned(seed: int) -> tuple[Model, SmallPlan]:
    model = from_proto(random_model(seed))
    found = random_decisions(model.view(), TABLE, seed)
    return model, shared(SmallPlan(found.tensors, found.weights, found.biases), model, seed)


def _lowered(data: bytes, names: tuple[str, ...]) -> tuple[bytes, int]:
    model = from_proto(onnx.load_from_string(data))
    trace = run([make(name) for name in names], model)
    return to_bytes(model), trace.counts.get("concat_integers", 0)


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(9000, 9600, 100), 1))
def test_random_graphs_run_as_predicted_and_answer_the_same(first: int) -> None:
    others = tuple(name for name in lowerings.of_graphs("ort") if name != "concat_integers")
    joined = 0
    for seed in range(first, first + 100):
        model, plan = _planned(seed)
        view = model.view()
        if all(node.op != "Concat" for node in view.nodes):
            continue
        tensors = {each.tensor: each for each in plan.tensors}
        if refused_tensors(view, edges_of_plan(view, tensors, plan.weights, plan.biases), TABLE):
            continue
        data = written(model, plan, wide_ranges(view, seed))
        plain, _ = _lowered(data, others)
        whole, count = _lowered(data, lowerings.of_graphs("ort"))
        predicted = predict(view, tensors, plan.weights, plan.biases, TABLE, lowered=True)
        said = [n for n in view.nodes if n.op == "Concat" and predicted[n.name].kernel == "Concat"]
        assert sum(predicted[n.name].runs == "integer" for n in said) == count, f"seed {seed}"
        runs = {name: replace(ran, rounded=False) for name, ran in read(whole, counts=False).nodes.items()}
        found = difference(view, predicted, runs)
        assert not found, f"seed {seed}:\n" + "\n".join(found)
        joined += count
        for level in LEVELS if count else ():
            for was, now in zip(_outputs(plain, level), _outputs(whole, level), strict=True):
                np.testing.assert_array_equal(was, now, err_msg=f"seed {seed}, {level}")
    assert joined > 5


SHARED = "place { share scale across op Concat }\n"
NET = """g (float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,8,8,8] z, float[1,8,8,8] f) {
    [left] a = Conv (x, w) [right] b = Conv (x, v)
    [join] c = Concat <axis = 1> (a, b)
    [head] y = Conv (c, u) [pool] p = MaxPool <kernel_shape = [1, 1]> (c) [more] m = Concat <axis = 1> (a, b)
    [root] z = Tanh (p) [last] f = Tanh (m)
}"""

WEIGHTS = {"w": (4, 3, 1, 1), "v": (4, 3, 1, 1), "u": (4, 8, 1, 1)}


def _net() -> Model:
    return model_of(NET, **WEIGHTS)


def _kernels(plan: Plan) -> dict[str, str]:
    return {n.node: f"{n.prediction.runs} {n.prediction.kernel}" for n in plan.nodes if n.op == "Concat"}


def test_a_plan_says_which_concat_joins_integers() -> None:
    model = _net()
    assert _kernels(planned(model.view())) == {"join": "integer QLinearConcat", "more": "integer QLinearConcat"}
    one = planned(model.view(), 'place { share scale across "join" }\n')
    assert _kernels(one) == {"join": "integer Concat", "more": "integer QLinearConcat"}
    kept = planned(model.view(), SHARED + 'keep "more" in float32\n')
    assert _kernels(kept) == {"join": "integer Concat", "more": "float Concat"}
    (said,) = (n.prediction.because for n in one.nodes if n.node == "join")
    assert said == BECAUSE


def test_int8_stays_in_pairs_that_run_as_uint8() -> None:
    text = """g (float[1,3,8,8] x, float[1,3,8,8] z) => (float[1,4,8,8] y) {
        [left] a = Conv (x, w) [right] b = Conv (z, v) [join] c = Concat <axis = 1> (a, b) [head] y = Conv (c, u) }"""
    model = model_of(text, **WEIGHTS)
    for kind, kernel in (("int8", "integer QLinearConcat"), ("uint8", "integer Concat")):
        plan = planned(model.view(), SHARED, head=HEAD.replace("uint8", kind))
        assert _kernels(plan) == {"join": kernel}
        quantized, _ = emit.quantize(model, plan, ranges_for(plan))
        ran = read(to_bytes(quantized)).nodes
        assert {name: f"{found.runs} {found.kernel}" for name, found in ran.items()} == {
            "join": kernel,
            **dict.fromkeys(("left", "right", "head"), "integer QLinearConv"),
        }


@pytest.mark.parametrize(
    "rules", ["", 'place { share scale across "join" }\n', SHARED, SHARED + 'keep "more" in float32\n']
)
def test_what_runs_is_what_the_plan_says(rules: str, tmp_path: Path) -> None:
    model = _net()
    plan = decided(model.view(), rules).plan
    data = samples(2, shape=(1, 3, 8, 8))
    made = emit.emit(model, plan, ranges_of(model, plan, data), tmp_path)
    ran = read(made.model)
    assert _kernels(plan) == {n: f"{ran.nodes[n].runs} {ran.nodes[n].kernel}" for n in ("join", "more")}
    found = verify(model, made, plan, data, reality=ran)
    assert found.as_predicted
    counts = {each.kernel: (each.predicted, each.real) for each in found.kernels}
    assert counts["Concat"] == (2 - rules.count("keep"),) * 2
    kept = {n.name for n in onnx.load(made.model).graph.node} & {n.name for n in model.nodes()}
    assert kept == {n.name for n in model.nodes()}
    assert all(origins([n]) for n in onnx.load(made.model).graph.node if n.op_type.endswith("eLinear"))


def test_the_manifest_says_what_was_joined_and_what_was_not(tmp_path: Path) -> None:
    model = _net()
    plan = decided(model.view(), 'place { share scale across "join" }\n').plan
    made = emit.emit(model, plan, ranges_for(plan), tmp_path)
    (told,) = json.loads(made.manifest.read_text(encoding="utf-8"))["lowerings"]
    assert told == {
        "name": "concat_integers",
        "fired": {"concat_integers": [["join"]]},
        "refused": [{"node": "more", "reason": "its inputs and its output have scales of their own"}],
    }


def test_explain_says_what_becomes_of_a_node_and_why_another_is_left_alone() -> None:
    decisions = decided(_net().view(), 'place { share scale across "join" }\n')
    told = {
        name: [(step.what, step.value, step.origin.rule, step.won) for step in explain(decisions, name).steps][-1]
        for name in ("join", "more")
    }
    lowering = "lowering concat_integers"
    assert told["join"] == ("rewritten", ConcatIntegers.summary, lowering, True)
    reason = "left alone: its inputs and its output have scales of their own"
    assert told["more"] == ("considered", reason, lowering, False)


def test_every_layer_is_still_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors that are left without a pair of their own are read as integers, too: the same figures."""
    model = _net()
    plan = planned(model.view(), SHARED)
    data = samples(2, shape=(1, 3, 8, 8))
    ranges = ranges_of(model, plan, data)
    joined = emit.emit(model, plan, ranges, tmp_path / "joined")
    monkeypatch.setattr(lowerings, "lowerings_for", lambda target: OF_PLANS)
    paired = emit.emit(model, plan, ranges, tmp_path / "paired")
    protos = [onnx.load(made.model) for made in (joined, paired)]
    assert [n.op_type for n in protos[0].graph.node].count("QuantizeLinear") == len(plan.tensors) - 2
    assert [n.op_type for n in protos[1].graph.node].count("QuantizeLinear") == len(plan.tensors)
    names = [each.tensor for each in plan.tensors]
    one, other = ([layer.tensor for layer in layers(proto, names)] for proto in protos)
    assert sorted(one) == sorted(other) == sorted(names)
    left, right = (verify(model, made, plan, data) for made in (joined, paired))
    assert left.layers == right.layers and left.outputs == right.outputs


@pytest.mark.parametrize("width", ["6 bit", "7 bit symmetric", "5 bit reduce_range"])
def test_widths_that_no_type_has(width: str, tmp_path: Path) -> None:
    model = _net()
    plan = planned(model.view(), f"layers all {{ activations {width} }}\n{SHARED}")
    assert _kernels(plan) == dict.fromkeys(("join", "more"), "integer Concat")
    data = samples(2, shape=(1, 3, 8, 8))
    made = emit.emit(model, plan, ranges_of(model, plan, data), tmp_path)
    found = verify(model, made, plan, data)
    assert found.as_predicted
    assert {"a", "b", "c", "m"} <= {each.tensor for each in found.layers}


@pytest.mark.slow
def test_a_detector_whose_concats_share_scales(tmp_path: Path) -> None:
    model = qdsl.graph.load(DATA / "yolov8_tiny_torchscript.onnx")
    canonicalise(model)
    plan = planned(model.view(), f"keep decode_head in float32\n{SHARED}")
    quantized, _ = emit.quantize(model, plan, measured(model, plan, 1))
    ran = read(to_bytes(quantized))
    kernels = {n.node: n.prediction.kernel for n in plan.nodes if n.op == "Concat" and n.prediction.runs == "integer"}
    assert set(kernels.values()) == {"Concat"} and len(kernels) == 13
    assert {name: ran.nodes[name].kernel for name in kernels} == kernels
    assert {ran.nodes[name].runs for name in kernels} == {"integer"}
    assert ran.op_counts.get("QLinearConcat", 0) == 0


def test_a_concat_of_other_integers_moves() -> None:
    """Integers that nobody dequantizes are no quantized ones."""
    text = """g (float[1,4] x, uint8[2] i, uint8[2] j) => (float[1,4] y, uint8[4] k) {
        [n] y = Neg (x) [c] k = Concat <axis = 0> (i, j) }"""
    ran = read(to_bytes(from_proto(parse(text)))).nodes
    assert (ran["c"].runs, ran["n"].runs) == ("moves", "float")


def test_what_was_joined_and_what_was_left_is_told() -> None:
    """With the reason, by node: one Concat joins integers, the other has scales of its own."""
    model = _net()
    plan = planned(model.view(), 'place { share scale across "join" }\n')
    _, trace = emit.quantize(model, plan, measured(model, plan, 1))
    assert trace.counts["concat_integers"] == 1
    (left,) = [refused for step in trace.steps[1:] for refused in step.outcome.refused]
    assert left.node == "more" and "scales of their own" in left.reason
