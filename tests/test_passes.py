"""Each canonicalising pass: a golden on small graphs, equal results in ONNX Runtime, counted edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graph_cases import parse
from pass_cases import CASES, Case

import qdsl.graph
from qdsl.graph.model import Model
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.passes.dead_code import no_dead_nodes
from qdsl.passes.index import ENTRIES, PASSES, Entry, make, pass_class, table
from qdsl.passes.pairs import PAIRS_AS_PLANNED
from qdsl.passes.pipeline import CANONICAL, canonicalise
from qdsl.rewrite import ContractError, Fact, Outcome, Rewrite, Trace, run
from qdsl.rewrite.facts import ALWAYS, linked, sorted_nodes, unique_names

EACH = [(name, case) for name, cases in CASES.items() for case in cases]
IDS = [f"{name}-{case.title}" for name, case in EACH]


def _session(model: Model) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(qdsl.graph.to_bytes(model), options)


def results(model: Model) -> list[np.ndarray]:
    """Outputs on fixed inputs; free dimensions are 2."""
    session = _session(model)
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
    random = np.random.default_rng(1)
    feeds = {
        i.name: random.uniform(-8, 8, [d if isinstance(d, int) else 2 for d in i.shape]).astype(kinds[i.type])
        for i in session.get_inputs()
    }
    return list(session.run(None, feeds))


def _runs(name: str, case: Case) -> tuple[Model, Model, Trace]:
    before = qdsl.graph.from_proto(parse(case.text, case.opset))
    if constants_are_initializers in pass_class(name).requires:
        run([make("constant_nodes")], before)
    after = before.copy()
    return before, after, run([make(name)], after)


def _text(model: Model) -> str:
    return onnx.printer.to_text(qdsl.graph.to_proto(model).graph)


@pytest.mark.parametrize("name", sorted(CASES))
def test_goldens(name: str, golden: Callable[[str, str], None]) -> None:
    parts = []
    for case in CASES[name]:
        before, after, trace = _runs(name, case)
        outcome = trace.steps[0].outcome
        fired = [f"fired {fired.rule}: {', '.join(fired.nodes)}" for fired in outcome.fired]
        refused = [f"refused {refused.node}: {refused.reason}" for refused in outcome.refused]
        same = _text(before) == _text(after)
        parts += [
            f"== {case.title}",
            _text(before),
            *fired,
            *refused,
            "-> unchanged" if same else f"-> {_text(after)}",
            "",
        ]
    golden(f"passes/{name}.txt", "\n".join(parts))


@pytest.mark.parametrize(("name", "case"), EACH, ids=IDS)
def test_edits_are_counted(name: str, case: Case) -> None:
    _, _, trace = _runs(name, case)
    assert (trace.edits, len(trace.refused)) == (case.fires, case.refuses)


@pytest.mark.parametrize(("name", "case"), EACH, ids=IDS)
def test_results_do_not_change(name: str, case: Case) -> None:
    if "cannot be computed" in case.title or "huge" in case.title or "drops" in case.title or "training" in case.title:
        pytest.skip("the graph cannot be run, needs 16 GiB, or is random")
    before, after, _ = _runs(name, case)
    for was, now in zip(results(before), results(after), strict=True):
        assert was.dtype == now.dtype
        np.testing.assert_allclose(now, was, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "case"), EACH, ids=IDS)
def test_a_second_run_changes_nothing(name: str, case: Case) -> None:
    _, after, _ = _runs(name, case)
    text = _text(after)
    assert run([make(name)], after).edits == 0
    assert _text(after) == text


@pytest.mark.parametrize(("name", "case"), EACH, ids=IDS)
def test_the_whole_pipeline_keeps_names_and_results(name: str, case: Case) -> None:
    model = qdsl.graph.from_proto(parse(case.text, case.opset))
    view = model.view()
    ends = view.inputs, view.outputs
    canonicalise(model)
    view = model.view()
    assert (view.inputs, view.outputs) == ends
    assert canonicalise(model).edits == 0


def test_folding_rounds_once() -> None:
    """Arithmetic in float64, one rounding at the end: the weights are the float32 nearest to the exact product."""
    random = np.random.default_rng(5)
    weights = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    gamma, beta, mean = (random.normal(size=4).astype(np.float32) for _ in range(3))
    var = random.uniform(0.1, 3, 4).astype(np.float32)
    constants = {"w": weights, "gamma": gamma, "beta": beta, "mean": mean, "var": var}
    proto = parse(
        "g (float[1, 3, 8, 8] x) => (float[1, 4, 6, 6] y) { c = Conv (x, w) "
        "y = BatchNormalization (c, gamma, beta, mean, var) "
        + " ".join(f"{name} = Constant <value_float = 0.0> ()" for name in constants)
        + " }"
    )
    for node, value in zip(proto.graph.node[2:], constants.values(), strict=True):
        node.attribute[0].CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(value)))
    model = qdsl.graph.from_proto(proto)
    before = results(model)
    canonicalise(model)
    scale = gamma.astype(np.float64) / np.sqrt(var.astype(np.float64) + np.float64(np.float32(1e-5)))
    np.testing.assert_allclose(model.values("w_folded"), weights * scale[:, None, None, None], rtol=6e-8, atol=0)
    assert model.values("w_folded").dtype == np.float32
    np.testing.assert_allclose(results(model)[0], before[0], rtol=1e-5, atol=1e-5)


def test_a_folded_convolution_keeps_name_metadata_and_the_outer_tensor() -> None:
    case = CASES["fold_batchnorm"][0]
    proto = parse(case.text)
    proto.graph.node[0].name = "/stem/conv/Conv"
    proto.graph.node[0].metadata_props.add(key="k", value="v")
    model = qdsl.graph.from_proto(proto)
    trace = canonicalise(model)
    (node,) = model.view().nodes
    assert (node.name, node.outputs) == ("/stem/conv/Conv", ("y",))
    assert [fired.rule for fired in trace.at("/stem/conv/Conv")] == ["fold_batchnorm"]
    assert qdsl.graph.to_proto(model).graph.node[0].metadata_props[0].value == "v"


def test_large_constants_are_folded_lazily() -> None:
    proto = parse("g (float[600, 1] x) => (float[N, M] y) { t = Transpose (w) y = MatMul (t, x) }")
    weights = np.arange(600 * 600, dtype=np.float32).reshape(600, 600)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    model = qdsl.graph.from_proto(proto)
    assert canonicalise(model).counts == {"fold_constant": 1}
    assert type(model.lazy("t")).__name__ == "Deferred"
    np.testing.assert_array_equal(model.values("t"), weights.T)
    again = qdsl.graph.from_proto(qdsl.graph.to_proto(model))
    np.testing.assert_array_equal(again.values("t"), weights.T)


def test_constants_grow_in_sum_and_not_step_by_step() -> None:
    """Each of these results may be computed by itself; together they are hundreds of times the model."""
    shapes = " ".join(f"k{i} = ConstantOfShape (s) y{i} = Neg (k{i})" for i in range(40))
    outputs = ", ".join(f"float[N] y{i}" for i in range(40))
    proto = parse(f"g (float[1] x) => ({outputs}) <int64[1] s = {{1000000}}> {{ {shapes} }}")
    model = qdsl.graph.from_proto(proto)
    trace = canonicalise(model)
    assert trace.counts["fold_constant"] and len(trace.refused) >= 30
    assert "have grown enough" in trace.refused[0].reason
    assert model.constant_bytes < 2**24 + 2**20


@pytest.mark.slow
def test_the_work_of_deferred_constants_is_bounded_too() -> None:
    """Each step reads the one before twice, and each is computed when it is read: work doubles, size does not."""
    steps = " ".join(f"a{i} = Neg (c{i}) b{i} = Abs (c{i}) c{i + 1} = Add (a{i}, b{i})" for i in range(40))
    proto = parse(f"g (float[N] x) => (float[N] y) {{ {steps} y = Add (c40, x) }}")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(100_000, np.float32), "c0"))
    model = qdsl.graph.from_proto(proto)
    trace = run([make("fold_constants")], model)
    assert 3 <= trace.edits < 40 and trace.refused
    assert all(model.values(constant.name).size == 100_000 for constant in model.constants())


class _Lies(Rewrite):
    name = "lies"
    summary = "promises what it does not do"
    ensures: ClassVar[tuple[Fact, ...]] = (no_dead_nodes,)

    def apply(self, model: Model) -> Outcome:
        return Outcome()


class _Needs(_Lies):
    name = "needs"
    requires = (constants_are_initializers,)
    ensures = ()


def test_the_runner_checks_what_passes_promise() -> None:
    dead = qdsl.graph.from_proto(parse("g (float[2] x) => (float[2] y) { d = Neg (x) y = Relu (x) }"))
    with pytest.raises(ContractError, match="lies ensures no_dead_nodes, broken at d_Neg"):
        run([_Lies()], dead)
    text = "g (float[2] x) => (float[2] y) { c = Constant <value_float = 1.0> () y = Add (x, c) }"
    with pytest.raises(ContractError, match="needs requires constants_are_initializers, broken at c_Constant"):
        run([_Needs()], qdsl.graph.from_proto(parse(text)))


def test_every_fact_can_break() -> None:
    """A fact that always holds checks nothing: each is broken by one of these graphs."""
    promised = {fact: name for name in CANONICAL for fact in pass_class(name).ensures}
    for fact, name in promised.items():
        broken = qdsl.graph.from_proto(parse(CASES[name][0].text))
        assert list(fact(broken)), fact.__name__
    model = qdsl.graph.from_proto(parse("g (float[2] x) => (float[2] y) { a = Neg (x) y = Relu (a) }"))
    first, second = model.nodes()
    model.graph.nodes.reverse()
    assert list(sorted_nodes(model)) == [second.name]
    second.name = first.name
    assert list(unique_names(model)) == [first.name]
    list.clear(model.tensor("a").inputs)
    assert list(linked(model))
    facts = {fact for name in PASSES for fact in (*pass_class(name).requires, *pass_class(name).ensures)}
    assert facts == {*promised, PAIRS_AS_PLANNED}, "test_plan_facts breaks that one"
    assert set(ALWAYS) == {sorted_nodes, unique_names, linked}


def test_the_index_names_every_pass_once_and_repeats_its_summary() -> None:
    for name, entry in PASSES.items():
        found = pass_class(name)
        assert (found.name, found.summary) == (name, entry.summary)
        assert not entry.lowers or entry.of_plan == bool(fields(found))
        assert not entry.foretells or ("saves" in vars(found) and not entry.of_plan)
    last_runs = list(dict.fromkeys(reversed(CANONICAL)))[::-1]
    assert [entry.name for entry in ENTRIES][: len(last_runs)] == last_runs, "the index is in running order"
    with pytest.raises(ValueError, match="two passes are called"):
        table([*ENTRIES, Entry("dead_code", "elsewhere:Other", "")])


def test_every_pass_has_cases_that_fire_and_that_do_not() -> None:
    assert set(CASES) == set(CANONICAL)
    for name, cases in CASES.items():
        assert any(case.fires for case in cases), name
    for name in set(CASES) - {"constant_nodes", "dead_code"}:
        assert any(not case.fires for case in CASES[name]), name


def test_passes_print_with_their_options() -> None:
    assert str(make("dead_code")) == "dead_code"
    assert str(make("fold_constants", largest=4)) == "fold_constants{largest=4}"


def test_a_trace_reads_as_a_page(golden: Callable[[str, str], None]) -> None:
    model = qdsl.graph.from_proto(parse(CASES["normalise_clip"][2].text))
    trace = run([make(name) for name in ("constant_nodes", "normalise_clip", "dead_code")], model)
    golden("passes/trace.txt", str(trace))
