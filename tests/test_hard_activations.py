"""HardSwish and HardSigmoid between pairs are sums and products of integers: the pass, the plan and what runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graph_cases import parse
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_cases import Case
from plan_tools import HEAD, decided, planned
from quantized import model_of, origins
from test_emit import ranges_of, samples

from qdsl.calibrate import Ranges
from qdsl.graph import Model, from_proto, to_bytes, to_proto
from qdsl.passes.index import make
from qdsl.rewrite import Trace, run
from qdsl.spec.plan import Plan
from qdsl.targets.ort import emit
from qdsl.targets.ort.reality import read
from qdsl.targets.ort.verify import verify

_CONSTANTS = (
    "float s = {0.05}, float t = {0.02}, float one = {0.00392}, uint8 z = {100}, uint8 zero = {0}, int8 n = {-3}, "
    "float[2] sc = {0.05, 0.05}, uint8[2] zc = {100, 100}"
)
_IN = "q = QuantizeLinear (a, s, z) x = DequantizeLinear (q, s, z) "
_OUT = " e = QuantizeLinear (h, t, zero) y = DequantizeLinear (e, t, zero)"
_SIGMOID = "[act] h = HardSigmoid <alpha = 0.16666667> (x)"
_SWISH = "[act] h = HardSwish (x)"


def _graph(body: str, outputs: str = "float[1, 2, 3] y") -> str:
    return f"g (float[1, 2, 3] a) => ({outputs}) <{_CONSTANTS}> {{ {body} }}"


CASES = (
    Case("a product", _graph(_IN + _SWISH + _OUT), 1),
    Case("a sum alone, where the scale ends at 1", _graph(_IN + _SIGMOID + _OUT.replace("t, zero", "one, zero")), 1),
    Case("a sum and a product with 1, where it does not", _graph(_IN + _SIGMOID + _OUT), 1),
    Case(
        "a second reader of what it reads",
        _graph(_IN + _SIGMOID + _OUT + " i = Neg (x)", "float[1, 2, 3] y, float[1, 2, 3] i"),
        1,
    ),
    Case("beta below 0", _graph(_IN + _SIGMOID.replace("<", "<beta = -0.25, ") + _OUT), 1),
    Case("beta of 0", _graph(_IN + _SIGMOID.replace("<", "<beta = 0.0, ") + _OUT), 1),
    Case("it does not rise", _graph(_IN + _SIGMOID.replace("0.16666667", "-0.5") + _OUT), 0, 1),
    Case("int8", _graph((_IN + _SWISH + _OUT).replace("s, z)", "s, n)").replace("t, zero", "t, n")), 0, 1),
    Case("what it writes in int8, for one reader", _graph(_IN + _SWISH + _OUT.replace("t, zero", "t, n")), 1),
    Case(
        "and for two",
        _graph(
            _IN + _SWISH + _OUT.replace("t, zero", "t, n") + " i = DequantizeLinear (e, t, n)",
            "float[1, 2, 3] y, float[1, 2, 3] i",
        ),
        0,
        1,
    ),
    Case("per channel", _graph(_IN.replace("s, z", "sc, zc") + _SWISH + _OUT), 0, 1),
    Case("the floats are read, too", _graph(_IN + _SWISH + _OUT, "float[1, 2, 3] y, float[1, 2, 3] h"), 0, 1),
    Case("a float input", _graph("[act] h = HardSwish (a)" + _OUT), 0),
    Case("a float output", _graph(_IN + "[act] y = HardSwish (x)"), 0),
    Case("a copy between, as for what is kept in float", _graph(_IN + "m = Max (x) [act] h = HardSwish (m)" + _OUT), 0),
)


def _runs(case: Case) -> tuple[Model, Model, Trace]:
    before = from_proto(parse(case.text, case.opset))
    after = before.copy()
    return before, after, run([make("hard_activations")], after)


def _text(model: Model) -> str:
    return onnx.printer.to_text(to_proto(model).graph)


def _outputs(data: bytes, feeds: dict[str, np.ndarray], level: str = "ORT_ENABLE_ALL") -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def test_goldens(golden: Callable[[str, str], None]) -> None:
    parts = []
    for case in CASES:
        before, after, trace = _runs(case)
        refused = [f"refused {r.node}: {r.reason}" for r in trace.refused]
        parts += [f"== {case.title}", _text(before), *refused]
        parts += [f"-> {_text(after)}" if trace.edits else "-> unchanged", ""]
    golden("passes/hard_activations.txt", "\n".join(parts))


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_edits_are_counted_and_nodes_keep_their_names(case: Case) -> None:
    before, after, trace = _runs(case)
    assert (trace.edits, len(trace.refused)) == (case.fires, case.refuses)
    assert (_text(before) == _text(after)) == (trace.edits == 0)
    onnx.checker.check_model(to_proto(after), full_check=True)
    (node,) = (n for n in after.nodes() if n.name == "act")
    assert node.op in (("Add", "Mul") if trace.edits else ("HardSwish", "HardSigmoid"))
    assert run([make("hard_activations")], after).edits == 0


def test_what_is_written_says_where_it_comes_from() -> None:
    _, after, _ = _runs(CASES[0])
    assert set(origins(n for n in to_proto(after).graph.node if n.name.startswith("act")).values()) == {
        "hard_activations"
    }


_SCALES = st.integers(1, 300).map(lambda n: n / 1000)
_ZEROS = st.integers(0, 255)


@settings(max_examples=60, deadline=None)
@given(
    op=st.sampled_from(["HardSwish", "HardSigmoid"]),
    slope=st.tuples(st.integers(1, 40), st.integers(-20, 20)).map(lambda pair: (pair[0] / 20, pair[1] / 20)),
    scales=st.tuples(_SCALES, _SCALES),
    zeros=st.tuples(_ZEROS, _ZEROS),
    shape=st.sampled_from([(256,), (1, 256, 1, 1), (2, 2, 8, 8), ()]),
)
def test_every_integer_comes_out_within_a_step(
    op: str,
    slope: tuple[float, float],
    scales: tuple[float, float],
    zeros: tuple[int, int],
    shape: tuple[int, ...],
) -> None:
    """Against the operator in float64, rounded once: a step for the roundings in between, and half of 1/255 of x."""
    alpha, beta = slope if op == "HardSigmoid" else (1 / 6, 0.5)
    attrs = f"<alpha = {alpha}, beta = {beta}>" if op == "HardSigmoid" else ""
    dims = f"[{', '.join(map(str, shape))}]" if shape else ""
    text = (
        f"g (uint8{dims} q) => (uint8{dims} e) <float s = {{{scales[0]}}}, float t = {{{scales[1]}}}, "
        f"uint8 z = {{{zeros[0]}}}, uint8 w = {{{zeros[1]}}}> {{ "
        f"x = DequantizeLinear (q, s, z) [act] h = {op} {attrs} (x) e = QuantizeLinear (h, t, w) }}"
    )
    model = from_proto(parse(text))
    assert run([make("hard_activations")], model).edits == 1
    stored = np.arange(256, dtype=np.uint8) if shape else np.asarray([zeros[0] ^ 37], np.uint8)
    x = (stored.astype(np.float64) - zeros[0]) * np.float64(np.float32(scales[0]))
    gate = np.clip(alpha * x + beta, 0, 1)
    exact = (x * gate if op == "HardSwish" else gate) / np.float32(scales[1]) + zeros[1]
    margin = (np.abs(x) if op == "HardSwish" else 1) / 510 / scales[1] + 1.01
    (got,) = _outputs(to_bytes(model), {"q": stored.reshape(shape)})
    assert (np.abs(got.reshape(-1) - np.clip(exact, 0, 255)) <= margin).all()


# ---- plan and runtime ------------------------------------------------------------------------------------------------

NET = """g (float[1,3,8,8] x) => (float[1,4,8,8] y) {
    [stem] a = Conv (x, w) [swish] b = HardSwish (a) [inner] c = Conv (b, v)
    [mean] p = GlobalAveragePool (c) [down] d = Conv (p, v) [gate] g = HardSigmoid <alpha = 0.16666667> (d)
    [scaled] m = Mul (c, g) [head] y = Conv (m, v)
}"""
HARD = ("swish", "gate")


def _net() -> Model:
    return model_of(NET, w=(4, 3, 1, 1), v=(4, 4, 1, 1))


def _kernels(plan: Plan) -> dict[str, str]:
    return {n.node: f"{n.prediction.runs} {n.prediction.kernel}" for n in plan.nodes if n.node in HARD}


def test_the_plan_says_what_computes_them() -> None:
    view = _net().view()
    assert _kernels(planned(view)) == {"swish": "integer QLinearAdd+QLinearMul", "gate": "integer QLinearAdd"}
    kept = planned(view, "keep op [HardSwish, HardSigmoid] in float32\n")
    assert _kernels(kept) == {"swish": "float HardSwish", "gate": "float HardSigmoid"}
    signed = planned(view, head=HEAD.replace("uint8", "int8"))
    assert _kernels(signed) == {"swish": "float HardSwish", "gate": "float HardSigmoid"}


def test_a_slope_that_falls_stays_float() -> None:
    model = model_of(NET.replace("0.16666667", "-0.2"), w=(4, 3, 1, 1), v=(4, 4, 1, 1))
    (node,) = (n for n in planned(model.view()).nodes if n.node == "gate")
    assert (node.prediction.runs, node.prediction.because) == (
        "float",
        "its slope is not above 0, and a scale has to be",
    )


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint8 kept"])
def test_what_runs_is_what_the_plan_says(kind: str, tmp_path: Path) -> None:
    model = _net()
    rules = "keep op [HardSwish, HardSigmoid] in float32\n" if "kept" in kind else ""
    plan = planned(model.view(), rules, head=HEAD.replace("uint8", kind.split()[0]))
    data = samples(2, shape=(1, 3, 8, 8))
    made = emit.emit(model, plan, ranges_of(model, plan, data), tmp_path)
    ran = read(made.model)
    found = verify(model, made, plan, data, reality=ran)
    assert found.as_predicted
    says = _kernels(plan)
    assert all(says[name].startswith(ran.nodes[name].runs) for name in HARD)
    last = {node.node: node.prediction.kernels[-1] for node in plan.nodes if node.node in HARD}
    assert kind != "uint8" or last == {name: ran.nodes[name].kernel for name in HARD}
    counts = json.loads(made.manifest.read_text())["predicted"]["integer_kernels"]
    assert {k: n for k, n in counts.items() if k.startswith("QL")} == {
        k: n for k, n in ran.op_counts.items() if k.startswith("QL")
    }
    assert found.outputs[0].sqnr_db is not None and found.outputs[0].sqnr_db > 25


def test_the_predicted_size_counts_what_is_written_in_their_place(tmp_path: Path) -> None:
    """Many of them, with the long notes that exporters leave on nodes."""
    acts = "".join(f" [s{i}] h{i} = HardSwish (h{i - 1})" for i in range(1, 21))
    text = f"g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) {{ [c] h0 = Conv (x, w){acts} [d] y = Conv (h20, v) }}"
    proto = to_proto(model_of(text, w=(3, 3, 1, 1), v=(3, 3, 1, 1)))
    for node in proto.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.class_hierarchy", value="torch.nn.modules.activation " * 20)
    model = from_proto(proto)
    plan = decided(model.view(), float_bytes=proto.ByteSize()).plan
    made = emit.emit(model, plan, ranges_of(model, plan, samples(2, shape=(1, 3, 8, 8))), tmp_path)
    assert len([n for n in onnx.load(made.model).graph.node if n.op_type == "Mul"]) == 20
    assert abs(plan.totals.predicted_bytes / made.size - 1) < 0.05


def test_a_dynamic_build_keeps_the_operator() -> None:
    """Nothing there reads integers."""
    model = model_of(NET.replace("[1,4,8,8]", "[1,64,8,8]"), w=(64, 3, 1, 1), v=(64, 64, 1, 1))
    plan = planned(
        model.view(),
        head="""recipe demo
model onnx "demo.onnx"
quantize dynamic { weights uint8 }
target ort
""",
    )
    quantized, _ = emit.quantize(model, plan, Ranges({}, {}, 0, 0))
    assert [n.op for n in quantized.nodes() if n.name in HARD] == ["HardSwish", "HardSigmoid"]
