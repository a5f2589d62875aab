"""The contract of lowerings: each fires on exactly the nodes that it foresees, leaves alone what it says, for the
reason that it says, and saves what it says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import test_concat_integers
import test_hard_activations
import test_keep_weights
import test_passes_channels_last as heads
import test_passes_fold_softmax
from dynamic_tools import dynamic_head, everything
from graph_cases import parse
from pass_cases import CASES
from plan_tools import HEAD, decided
from quantized import Measured, SmallPlan, model_of, tensor, weight
from random_graphs import random_decisions, random_model
from seeds import few_of
from test_predict_random import wide_ranges

from qdsl.calibrate import Ranges
from qdsl.capability import load
from qdsl.diag import QdslError
from qdsl.graph import Model, from_proto, to_bytes
from qdsl.graph import load as load_model
from qdsl.passes.index import make
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.lowering import Lowering
from qdsl.passes.pipeline import canonicalise
from qdsl.passes.planned import planned
from qdsl.rewrite import Outcome, Step, Trace, run
from qdsl.rewrite.sketch import Sketch
from qdsl.spec.opset import least_opset
from qdsl.spec.plan import Plan
from qdsl.targets import lowerings as ort
from qdsl.targets.ort.emit import quantize

NOTHING = {"nothing-to-quantize", "setting-unused", "selector-empty", "target-cannot"}  # is to be done
DATA = Path(__file__).resolve().parent / "data"
TABLE = load("ort_cpu")
_NO_DATA = 'recipe demo\nmodel onnx "demo.onnx"\nquantize {}\ntarget ort\n'
HEADS = {
    "static": HEAD,
    "int8": HEAD.replace("uint8", "int8"),
    "6 bit": HEAD.replace("uint8 affine per_tensor", "6 bit"),
    "float16": _NO_DATA.format("float { weights float16; activations float16 }"),
    "weights": _NO_DATA.format("float { weights int8 storage_only }"),
    "dynamic": dynamic_head(),
}


def told(outcome: Outcome) -> tuple[Counter[object], Counter[object]]:
    """What fired and what was refused, in no order."""
    return Counter((one.rule, tuple(sorted(one.nodes))) for one in outcome.fired), Counter(outcome.refused)


def check(foreseen: Trace, real: Trace, where: str) -> None:
    assert [step.name for step in foreseen.steps] == [step.name for step in real.steps]
    for said, done in zip(foreseen.steps, real.steps, strict=True):
        assert told(said.outcome) == told(done.outcome), f"{where}: {done.name}"


def seen(traces: Iterator[Trace]) -> tuple[set[str], set[str]]:
    """The lowerings that fired, and those that left something alone."""
    steps = [step for trace in traces for step in trace.steps]
    fired = {step.word for step in steps if step.outcome.fired}
    return fired, {step.word for step in steps if step.outcome.refused}


# ---- random decisions: pairs that no planner would make, too ---------------------------------------------------------


def drawn(seed: int) -> tuple[Model, SmallPlan]:
    """A random graph and a random plan: some with one scale around Concats, some with fewer stored weights."""
    model = from_proto(random_model(seed))
    found = random_decisions(model.view(), TABLE, seed)
    plan = SmallPlan(found.tensors, found.weights, found.biases)
    rng = random.Random(seed)
    share = rng.choice([1.0, 1.0, 0.5, 0.0])
    weights = tuple(weight for weight in plan.weights if rng.random() < share)
    nodes = {weight.node for weight in weights}
    biases = tuple(bias for bias in plan.biases if bias.node in nodes)
    plan = replace(plan, weights=weights, biases=biases)
    return model, test_concat_integers.shared(plan, model, seed) if rng.random() < 0.5 else plan


def on_random_decisions(first: int, count: int) -> Iterator[Trace]:
    for seed in range(first, first + count):
        model, plan = drawn(seed)
        if least_opset(plan) > model.opset:
            continue
        view = model.view()
        low, high = ({name: ends[i] for name, ends in wide_ranges(view, seed).items()} for i in (0, 1))
        passes = [make(name) for name in ort.of_graphs("ort")]
        sketch = planned(view, plan)
        steps = [Step(str(one), one.foresees(sketch, TABLE).outcome) for one in passes if isinstance(one, Lowering)]
        real = Trace(run([InsertQDQ(plan, Measured(low, high)), *passes], model, plan=plan).steps[1:])
        check(Trace(tuple(steps)), real, f"seed {seed}")
        yield real


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of((0, 100, 200), 1))
def test_what_is_foreseen_on_random_decisions_is_what_happens(first: int) -> None:
    fired, refused = seen(on_random_decisions(first, 100))
    assert {"weights_only", "keep_weights", "concat_integers", "hard_activations"} <= fired
    assert {"concat_integers", "hard_activations"} <= refused


# ---- plans -----------------------------------------------------------------------------------------------------------


def emitted(model: Model, plan: Plan, where: str, seed: int = 0) -> Trace:
    ranges = wide_ranges(model.view(), seed)
    low, high = ({name: ends[i] for name, ends in ranges.items()} for i in (0, 1))
    _, trace = quantize(model, plan, Ranges(low, high, 1, 1))
    real = Trace(trace.steps[1:])
    check(ort.foreseen(model.view(), plan, TABLE), real, where)
    assert rewritten(real, "hard_activations") == integer(plan, ("HardSwish", "HardSigmoid")), where
    assert rewritten(real, "concat_integers") == integer(plan, ("Concat",), "Concat"), where
    return real


def rewritten(trace: Trace, name: str) -> set[str]:
    """The nodes on which a lowering fired."""
    steps = [step for step in trace.steps if step.word == name]
    return {node for step in steps for fired in step.outcome.fired for node in fired.nodes}


def integer(plan: Plan, ops: tuple[str, ...], kernel: str = "") -> set[str]:
    """The nodes that the plan says run in integers, by operator, and by kernel where one is given."""
    nodes = [node for node in plan.nodes if node.op in ops and node.prediction.runs == "integer"]
    return {node.node for node in nodes if node.prediction.kernel == kernel or not kernel}


def plan_of(model: Model, rules: str, head: str) -> Plan | None:
    rules = everything() if head == "dynamic" else rules
    try:
        return decided(model.view(), rules, head=HEADS[head], float_bytes=len(to_bytes(model))).plan
    except QdslError as error:
        assert {one.code for one in error.diagnostics} <= NOTHING
        return None


RULES = {
    "": "",
    "shared": "place { share scale across op Concat }\n",
    "kept": "keep op [Sigmoid, HardSwish, Mul, Concat] in float32\n",
    "float weights": "layers op [Conv, Gemm] { weights float32 }\n",
    "float16": "keep op [Sigmoid, HardSwish, Concat, Resize] in float16\n",
}


def on_plans(rules: str, head: str, first: int, count: int) -> Iterator[Trace]:
    for seed in range(first, first + count):
        model = from_proto(random_model(seed))
        canonicalise(model)
        plan = plan_of(model, RULES[rules], head)
        if plan is not None:
            yield emitted(model, plan, f"seed {seed}", seed)


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES)
def test_what_is_foreseen_of_static_plans_is_what_happens(rules: str) -> None:
    fired, _ = seen(on_plans(rules, "static", 500, 24))
    assert (
        not rules
        or {
            "shared": "concat_integers",
            "kept": "keep_operators",
            "float weights": "keep_weights",
            "float16": "store_float16",
        }[rules]
        in fired
    )


@pytest.mark.slow
@pytest.mark.parametrize("head", [head for head in HEADS if head != "static"])
def test_what_is_foreseen_of_other_plans_is_what_happens(head: str) -> None:
    assert list(on_plans("", head, 700, 16))


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_what_is_foreseen_on_the_cases_of_passes_is_what_happens(head: str) -> None:
    planned_for = 0
    for name, cases in CASES.items():
        for case in cases:
            try:
                model = from_proto(parse(case.text, case.opset))
            except QdslError:
                continue
            canonicalise(model)
            plan = plan_of(model, "", head)
            if plan is not None and least_opset(plan) <= model.opset:
                emitted(model, plan, f"{name}: {case.title}")
                planned_for += 1
    assert planned_for > 3


def test_nothing_is_foreseen_of_a_file_that_stays_as_it_is() -> None:
    view = load_model(EXPORTS[0]).view()
    head = 'recipe demo\nmodel onnx "demo.onnx"\nquantize none\ntarget ort\n'
    plan = decided(view, head=head).plan
    assert ort.foreseen(view, plan, TABLE) == Trace() and ort.saved(view, plan, TABLE) == 0


EXPORTS = sorted(DATA.glob("yolov8_tiny_*.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("rules", ["", "keep decode_head in float32\n", "keep decode_head in float16\n"])
@pytest.mark.parametrize("head", few_of(["static", "int8", "dynamic"], 1))
def test_what_is_foreseen_of_a_detector_is_what_happens(path: Path, rules: str, head: str) -> None:
    model = load_model(path)
    canonicalise(model)
    plan = plan_of(model, rules, head)
    assert plan is not None or head == "dynamic"
    real = emitted(model, plan, path.name) if plan is not None else Trace()
    if head == "static" and "float32" in rules:
        assert {"softmax_last", "channels_last"} <= seen(iter([real]))[0]


# ---- graphs with pairs of their own ----------------------------------------------------------------------------------


def with_pairs() -> Iterator[tuple[str, str, Model]]:
    for name, cases in WITH_PAIRS.items():
        yield from ((name, case.title, from_proto(parse(case.text, case.opset))) for case in cases)
    for title, head in (heads.FIRES | {title: head for title, (head, _) in heads.REFUSED.items()}).items():
        yield "channels_last", title, heads.model_of(head)


WITH_PAIRS = {
    "concat_integers": test_concat_integers.CASES,
    "hard_activations": test_hard_activations.CASES,
    "keep_weights": test_keep_weights.CASES,
    "softmax_last": test_passes_fold_softmax.CASES,
}


@pytest.mark.parametrize("name", [*WITH_PAIRS, "channels_last"])
def test_each_foresees_its_own_cases(name: str) -> None:
    fired = refused = 0
    for lowering, title, model in with_pairs():
        if lowering != name:
            continue
        run([make("constant_nodes")], model)
        one = make(name)
        assert isinstance(one, Lowering)
        said = one.foresees(Sketch(model.view()), TABLE).outcome
        done = run([one], model).steps[0].outcome
        assert told(said) == told(done), title
        fired, refused = fired + len(done.fired), refused + len(done.refused)
    assert fired > 1 and (refused > 1 or name == "keep_weights")


def test_what_one_lowering_leaves_is_what_the_next_one_looks_at() -> None:
    """Where one level is decoded channels last, only moves stand between the integers and a convolution in float."""
    model = model_of(
        """g (float[1, 3, 4, 4] x) => (float[1, 4, 16] p, float[1, 2, 16] z)
          <int64[3] flat = {1, 6, -1}, int64[2] sizes = {4, 2}> {
          [box] a = Conv (x, w) [score] b = Conv (x, v) [join] c = Concat <axis = 1> (a, b)
          [level] r = Reshape (c, flat) [parts] s, t = Split <axis = 1> (r, sizes)
          [mix] p = Conv (s, u) [last] z = Sigmoid (t) }""",
        w=(4, 3, 1, 1),
        v=(2, 3, 1, 1),
        u=(4, 4, 1),
    )
    plan = SmallPlan(
        (
            tensor("x", ("box", 0), ("score", 0)),
            tensor("a", ("join", 0)),
            tensor("b", ("join", 1)),
            tensor("p", ("", -1)),
        ),
        (weight("box", 1, "w"), weight("score", 1, "v")),
    )
    passes = [one for one in map(make, ort.of_graphs("ort")) if isinstance(one, Lowering)]
    sketch = planned(model.view(), plan)
    said = Trace(tuple(Step(str(one), one.foresees(sketch, TABLE).outcome) for one in passes))
    ends = dict.fromkeys("xabp", -4.0), dict.fromkeys("xabp", 4.0)
    real = Trace(run([InsertQDQ(plan, Measured(*ends)), *passes], model, plan=plan).steps[1:])
    check(said, real, "one level")
    assert {"channels_last", "keep_weights"} <= seen(iter([real]))[0]


# ---- size ------------------------------------------------------------------------------------------------------------


def differences(model: Model, plan: Plan) -> Iterator[tuple[str, int, int, int]]:
    """Per lowering that fires: its name, the bytes it says it saves, those it saves, and those of the file."""
    view, copy = model.view(), model.copy()
    low, high = ({name: ends[i] for name, ends in wide_ranges(view, 0).items()} for i in (0, 1))
    run([InsertQDQ(plan, Ranges(low, high, 1, 1))], copy, plan=plan)
    sketch = planned(view, plan)
    for one in ort.lowerings(plan):
        said = one.saves(view, plan, one.foresees(sketch, TABLE).outcome)
        before = len(to_bytes(copy))
        if run([one], copy).edits:
            yield one.name, said, before - len(to_bytes(copy)), before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rules", "head"), [("shared", "static"), ("kept", "static"), ("", "float16"), ("", "weights")]
)
def test_what_is_saved_is_what_the_file_shows(rules: str, head: str) -> None:
    found = []
    for seed in range(900, 920):
        model = from_proto(random_model(seed))
        canonicalise(model)
        plan = plan_of(model, RULES[rules], head)
        found += list(differences(model, plan)) if plan is not None else []
    assert len(found) > 5
    for name, said, saved, size in found:
        assert abs(said - saved) <= 256 + 0.05 * size, name


@pytest.mark.slow
def test_what_a_detector_saves_is_what_the_file_shows() -> None:
    for path in EXPORTS:
        model = load_model(path)
        canonicalise(model)
        plan = plan_of(model, "keep decode_head in float32\n", "static")
        assert plan is not None
        for name, said, saved, size in differences(model, plan):
            assert abs(said - saved) <= 256 + 0.05 * size, name
