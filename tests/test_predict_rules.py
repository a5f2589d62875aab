"""Each rule of the table and each reason of the predictor in the smallest graph that shows it, and in ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from quantized import S8, U8, Measured, SmallPlan, bias, scheme, tensor, weight

from qdsl.capability import MOVES, load
from qdsl.graph import Model, from_proto, to_bytes
from qdsl.graph.view import GraphView, Use
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.predict.edges import Edges, Quant, edges_of_plan, float_edges
from qdsl.spec import DTYPES, Granularity
from qdsl.spec.plan import BiasPlan, Prediction, TensorPlan, WeightPlan
from qdsl.targets.ort.fusions import CHECKS
from qdsl.targets.ort.predict import predict, predict_edges, refused_tensors
from qdsl.targets.ort.reality import read
from qdsl.targets.results import Ran

TABLE = load("ort_cpu")
OUT = ("", -1)
IMAGE = "float[1,4,8,8]"
U16, S8_EVEN, U8_EVEN = scheme("uint16"), scheme("int8", True), scheme("uint8", True)
W4 = scheme("int4", True, granularity=Granularity.PER_CHANNEL)
PADS = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)


@dataclass(frozen=True)
class Case:
    """A graph, which of its edges carry integers, and what must become of nodes: "runs kernel" or "float reason"."""

    name: str
    graph: str
    expect: dict[str, str]
    pairs: tuple[TensorPlan, ...] = ()
    weights: tuple[WeightPlan, ...] = ()
    biases: tuple[BiasPlan, ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    opset: int = 17


def pair(name: str, *readers: str | tuple[str, int], of: Any = U8, group: str = "") -> TensorPlan:
    """A pair on `name`; a reader that is only a name reads at port 0."""
    placed = [(reader, 0) if isinstance(reader, str) else reader for reader in readers]
    return tensor(name, *placed, of=of, group=group or name)


def io(node: str, source: str = "x", result: str = "y", of: Any = U8, group: str = "") -> tuple[TensorPlan, ...]:
    """Pairs on what `node` reads and, as the graph output, writes."""
    return pair(source, node, of=of, group=group), pair(result, OUT, of=of, group=group)


def one(op: str, attrs: str = "", more: str = "") -> str:
    return f"g ({IMAGE} x) => (float[?,?,?,?] y) {{ [n] y = {op} {attrs} (x{more}) }}"


CONV = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] y = Conv (x, w) }}"
CONV_BIAS = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] y = Conv (x, w, b) }}"
CONV_RELU = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] c = Conv (x, w) [act] y = Relu (c) }}"
CONV_CLIP = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] c = Conv (x, w) [act] y = Clip (c, low, high) }}"
W = {"w": (4, 4, 1, 1)}
CLIP = W | {"low": np.float32(0), "high": np.float32(6)}
WN = (weight("n", 1, "w"),)
GEMM = "g (float[2,8] x) => (float[2,4] y) { [n] y = Gemm (x, w, b) }"
GEMM_HALF = "g (float[2,8] x) => (float[2,4] y) { [n] y = Gemm <beta = 0.5> (x, w, b) }"
MATMUL = "g (float[2,8] x) => (float[2,4] y) { [n] y = MatMul (x, w) }"
MATMUL_ADD = "g (float[2,8] x) => (float[2,4] y) { [n] m = MatMul (x, w) [add] y = Add (m, b) }"
DENSE = {"w": (8, 4), "b": (4,)}
MATRIX = {"w": (8, 4)}
WM = (weight("n", 1, "w", axis=1),)
ADD = f"g ({IMAGE} x, {IMAGE} z) => ({IMAGE} y) {{ [n] y = Add (x, z) }}"
CONCAT = f"g ({IMAGE} x, {IMAGE} z) => (float[1,8,8,8] y) {{ [n] y = Concat <axis = 1> (x, z) }}"
BOTH = (pair("x", "n"), pair("z", ("n", 1)))
WHERE = f"g (bool[1,4,8,8] k, {IMAGE} x) => ({IMAGE} y) {{ [n] y = Where (k, x, s) }}"
POOL = "<kernel_shape = [2, 2]>"
SCALES = {"s": np.array([1, 1, 2, 2], np.float32)}
FAN = f"""g ({IMAGE} x) => ({IMAGE} y, {IMAGE} z) {{
  [t] c = Tanh (x) [n] y = Conv (c, w) [o] z = Conv (c, v) }}"""


def cases() -> Iterator[Case]:
    yield from computing()
    yield from outputs()
    yield from activations()
    yield from moving()
    yield from by_itself()


def computing() -> Iterator[Case]:
    yield Case("conv", CONV, {"n": "integer QLinearConv"}, io("n"), WN, constants=W)
    yield Case("conv, bias float", CONV_BIAS, {"n": "integer QLinearConv"}, io("n"), WN, constants=W | {"b": (4,)})
    stored = (bias("n", 2, "b", "x"),)
    yield Case("conv, bias", CONV_BIAS, {"n": "integer QLinearConv"}, io("n"), WN, stored, W | {"b": (4,)})
    yield Case("conv, float input", CONV, {"n": "float input_float"}, io("n")[1:], WN, constants=W)
    yield Case("conv, uint16", CONV, {"n": "float activation_type"}, io("n", of=U16), WN, constants=W, opset=21)
    four = (weight("n", 1, "w", W4),)
    yield Case("conv, int4 weight", CONV, {"n": "float weight_type"}, io("n"), four, constants=W, opset=21)
    types = (pair("x", "n"), pair("y", OUT, of=U16))
    yield Case("conv, types differ", CONV, {"n": "float output_types"}, types, WN, constants=W, opset=21)
    yield Case("conv, int8 one to one", CONV, {"n": "integer QLinearConv"}, io("n", of=S8), WN, constants=W)
    both = (pair("c", "n", "o", of=S8), pair("y", OUT, of=S8), pair("z", OUT, of=S8))
    two = (*WN, weight("o", 1, "v"))
    said = {"t": "float because", "n": "float signed_shared", "o": "float signed_shared"}
    yield Case("conv, int8 fan-out", FAN, said, both, two, constants=W | {"v": (4, 4, 1, 1)})
    yield Case("gemm", GEMM, {"n": "integer QGemm"}, io("n"), WM, constants=DENSE)
    stored = (bias("n", 2, "b", "x"),)
    yield Case("gemm, float output", GEMM, {"n": "integer QGemm"}, io("n")[:1], WM, stored, DENSE)
    yield Case("gemm, float bias and output", GEMM, {"n": "float bias_float"}, io("n")[:1], WM, constants=DENSE)
    yield Case("gemm, beta", GEMM_HALF, {"n": "float unit_factors"}, io("n"), WM, stored, DENSE)
    alpha = GEMM_HALF.replace("beta", "alpha")
    yield Case("gemm, alpha", alpha, {"n": "float unit_factors"}, io("n"), WM, stored, DENSE)
    bare = alpha.replace(", b)", ")")
    yield Case("gemm, alpha, no bias", bare, {"n": "integer QGemm"}, io("n"), WM, constants=MATRIX)
    table = f"g ({IMAGE} x) => ({IMAGE} y) {{ [t] c = Exp (k) [n] y = Add (x, c) }}"
    pairs = (pair("x", "n", of=S8), pair("c", ("n", 1), of=S8), pair("y", OUT, of=S8))
    said = {"n": "float signed_shared"}
    yield Case("a table that is computed, int8", table, said, pairs, constants={"k": (1, 4, 8, 8)})
    pairs = (pair("x", "n"), pair("c", ("n", 1)), pair("y", OUT))
    yield Case("a table that is computed", table, {"n": "integer QLinearAdd"}, pairs, constants={"k": (1, 4, 8, 8)})
    yield Case("matmul", MATMUL, {"n": "integer QLinearMatMul"}, io("n"), WM, constants=MATRIX)
    yield Case("matmul, float output", MATMUL, {"n": "integer MatMulIntegerToFloat"}, io("n")[:1], WM, constants=MATRIX)
    yield Case("matmul, weights only", MATMUL, {"n": "integer MatMulNBits"}, (), WM, constants=MATRIX)
    plan = (pair("x", "n", of=S8), pair("x2", ("n", 1), of=S8))
    product = (
        "g (float[2,8] x, float[8,2] x2) => (float[2,2] y, float[2,8] z) { [n] y = MatMul (x, x2) [o] z = Neg (x) }"
    )
    shared = (pair("x", "n", "o", of=S8), plan[1])
    said = {"n": "float unsigned", "o": "float because"}
    yield Case("matmul, int8 fan-out", product, said, shared)
    unsigned = (weight("n", 1, "w", scheme("uint8"), None),)
    gemm = "g (float[2,8] x) => (float[2,4] y, float[2,8] z) { [n] y = Gemm (x, w) [o] z = Neg (x) }"
    said = {"n": "float signed_weight", "o": "float because"}
    yield Case("gemm, int8 with uint8 weight", gemm, said, (pair("x", "n", "o", of=S8),), unsigned, constants=MATRIX)


def outputs() -> Iterator[Case]:
    yield Case("add", ADD, {"n": "integer QLinearAdd"}, (*BOTH, pair("y", OUT)))
    mixed = f"g ({IMAGE} x, {IMAGE} z) => ({IMAGE} y, {IMAGE} r) {{ [n] y = Add (x, z) [o] r = Sin (z) }}"
    parts = (pair("x", "n"), pair("z", ("n", 1), "o", of=S8), pair("y", OUT))
    yield Case("add, one type each", mixed, {"n": "float type_mix", "o": "float because"}, parts)
    yield Case("add, float output", ADD, {"n": "float output_graph"}, BOTH)
    table = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] y = Mul (x, m) }}"
    constant = (weight("n", 1, "m", U8, None),)
    yield Case("mul by a table", table, {"n": "integer QLinearMul"}, io("n"), constant, constants={"m": (1, 4, 1, 1)})
    yield Case("mul by a float table", table, {"n": "float input_float"}, io("n"), constants={"m": (1, 4, 1, 1)})
    for op, attrs in (
        ("Sigmoid", ""),
        ("Softmax", ""),
        ("LeakyRelu", ""),
        ("AveragePool", POOL),
        ("GlobalAveragePool", ""),
    ):
        yield Case(op, one(op, attrs), {"n": f"integer QLinear{op}"}, io("n"))
    yield Case("concat", CONCAT, {"n": "integer QLinearConcat"}, (*BOTH, pair("y", OUT)))
    yield Case("concat, one float", CONCAT, {"n": "float input_float"}, (BOTH[0], pair("y", OUT)))
    yield Case(
        "where, a scalar",
        WHERE,
        {"n": "integer QLinearWhere"},
        (pair("x", ("n", 1)), pair("y", OUT)),
        constants={"s": np.float32(0.25)},
    )
    yield Case(
        "where, a vector",
        WHERE,
        {"n": "float input_float"},
        (pair("x", ("n", 1)), pair("y", OUT)),
        constants={"s": (1, 4, 1, 1)},
    )
    for op in ("Sub", "Div"):
        yield Case(op, ADD.replace("Add", op), {"n": "float because"}, (*BOTH, pair("y", OUT)))
    for op in ("Tanh", "ReduceMean"):
        yield Case(op, one(op), {"n": "float because"}, io("n"))
    for op in ("HardSwish", "HardSigmoid"):
        yield Case(op, one(op), {"n": "float not_lowered"}, io("n"))
    yield Case("Sin", one("Sin"), {"n": "float because"}, io("n"))
    read_too = f"g ({IMAGE} x) => ({IMAGE} y, {IMAGE} z) {{ [n] c = Sigmoid (x) [o] y = Sin (c) [p] z = Neg (c) }}"
    shared = {"n": "float output_shared", "o": "float because", "p": "float because"}
    yield Case("output read in float", read_too, shared, (pair("x", "n"), pair("c", "o")))
    inner = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] c = Sigmoid (x) [o] y = Sin (c) }}"
    yield Case("output float", inner, {"n": "float output_float", "o": "float because"}, (pair("x", "n"),))
    inside = f"g ({IMAGE} x) => ({IMAGE} y, {IMAGE} c) {{ [n] c = Sigmoid (x) [o] y = Sin (c) }}"
    said = {"n": "float output_graph", "o": "float because"}
    yield Case("graph output inside", inside, said, (pair("x", "n"), pair("c", "o")))


def activations() -> Iterator[Case]:
    fused = {"n": "integer QLinearConv", "act": "absorbed QLinearConv"}
    not_fused = {"n": "float not_redundant", "act": "float because"}
    at_zero = {"y": (0.0, 4.0)}
    yield Case("relu", CONV_RELU, fused, io("n"), WN, constants=W, ranges=at_zero)
    yield Case("relu, symmetric int8", CONV_RELU, not_fused, io("n", of=S8_EVEN), WN, constants=W, ranges=at_zero)
    yield Case("relu, symmetric uint8", CONV_RELU, not_fused, io("n", of=U8_EVEN), WN, constants=W, ranges=at_zero)
    yield Case("clip", CONV_CLIP, fused, io("n"), WN, constants=CLIP, ranges=at_zero)
    even = {"y": (0.0, 6.0)}
    yield Case("clip, symmetric", CONV_CLIP, not_fused, io("n", of=S8_EVEN), WN, constants=CLIP, ranges=even)
    apart = CLIP | {"low": np.float32(0.5)}
    yield Case("clip above zero", CONV_CLIP, not_fused, io("n"), WN, constants=apart, ranges={"y": (0.5, 4.0)})
    on_input = f"g ({IMAGE} x) => ({IMAGE} y) {{ [act] y = Clip (x, low, high) }}"
    limits = {"low": np.float32(0), "high": np.float32(6)}
    yield Case(
        "clip on a graph input",
        on_input,
        {"act": "float on_graph_input"},
        (pair("y", OUT),),
        constants=limits,
        ranges=at_zero,
    )
    alone = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] c = Sin (x) [act] y = Relu (c) }}"
    yield Case(
        "relu after a float node",
        alone,
        {"n": "float because", "act": "absorbed QuantizeLinear"},
        (pair("y", OUT),),
        ranges=at_zero,
    )
    text = f"{{ [r] a = Abs (x) [n] c = MaxPool {POOL} (a) [act] y = Relu (c) }}"
    said = {"n": "integer MaxPool", "act": "absorbed QuantizeLinear"}
    passed = f"g ({IMAGE} x) => (float[?,?,?,?] y) {text}"
    yield Case("relu after a mover", passed, said, io("n", "a", group="a"), ranges={"a": (0.0, 4.0), "y": (0.0, 4.0)})


def moving() -> Iterator[Case]:
    same = io("n", group="x")
    yield Case("max pool", one("MaxPool", POOL), {"n": "integer MaxPool"}, same)
    yield Case("max pool, two scales", one("MaxPool", POOL), {"n": "float scale_differs"}, io("n"))
    dilated = one("AveragePool", "<kernel_shape = [2, 2], dilations = [2, 2]>")
    yield Case("average pool with dilations", dilated, {"n": "float because"}, io("n")[:1], opset=19)
    yield Case("max pool, opset 11", one("MaxPool", POOL), {"n": "float because"}, same, opset=11)
    nearest = one("Resize", '<mode = "nearest">', ", , s")
    yield Case("resize nearest", nearest, {"n": "integer Resize"}, same, constants=SCALES)
    linear = one("Resize", '<mode = "linear">', ", , s")
    yield Case("resize linear", linear, {"n": "float because"}, same, constants=SCALES)
    yield Case("reduce max", one("ReduceMax"), {"n": "integer ReduceMax"}, same)
    blocks = one("DepthToSpace", "<blocksize = 2>")
    yield Case("depth to space", blocks, {"n": "integer DepthToSpace"}, same)
    yield Case("transpose, uint16", one("Transpose"), {"n": "integer Transpose"}, io("n", of=U16, group="x"), opset=21)
    halves = f"g ({IMAGE} x) => (float[1,2,8,8] y, float[1,2,8,8] z) {{ [n] y, z = Split <axis = 1> (x) }}"
    yield Case("split", halves, {"n": "integer Split"}, (*same, pair("z", OUT, group="x")), opset=13)
    yield Case("split, one float", halves, {"n": "float output_float"}, same, opset=13)
    place = f"g ({IMAGE} x) => (int64[?,?,?,?] y) {{ [n] y = ArgMax (x) }}"
    yield Case("arg max", place, {"n": "integer ArgMax"}, (pair("x", "n"),))
    yield Case("arg max, float", place, {"n": "float input_float"})
    yield Case("shape", "g (float[N,4] x) => (int64[2] y) { [n] y = Shape (x) }", {"n": "float because"})
    yield Case("pad", one("Pad", "", ", p"), {"n": "float because"}, same, constants={"p": PADS})


def by_itself() -> Iterator[Case]:
    """What the runtime does without being asked."""
    yield Case("a float weight is stored", CONV, {"n": "integer runtime_weight"}, io("n"), constants=W)
    down = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] c = Transpose (x) [o] y = Sin (c) }}"
    said = {"n": "integer Transpose", "o": "float because"}
    yield Case("a pair spreads down", down, said, (pair("x", "n"),))
    up = f"g ({IMAGE} x) => (float[?,?,?,?] y) {{ [n] c = Conv (x, w) [o] y = MaxPool {POOL} (c) }}"
    said = {"n": "integer QLinearConv", "o": "integer MaxPool"}
    yield Case("a pair spreads up", up, said, (pair("x", "n"), pair("y", OUT)), WN, constants=W)
    said = {"n": "integer QGemm", "add": "absorbed QGemm"}
    yield Case("matmul and add are a gemm", MATMUL_ADD, said, (pair("x", "n"), pair("y", OUT)), WM, constants=DENSE)
    padded = f"g ({IMAGE} x) => (float[1,4,10,10] y) {{ [p] c = Pad (x, z) [n] y = Conv <pads = [0, 0, 0, 0]> (c, w) }}"
    said = {"p": "absorbed QLinearConv", "n": "integer QLinearConv"}
    yield Case("padding moves into conv", padded, said, io("p"), WN, constants=W | {"z": PADS})
    twice = f"""g ({IMAGE} x) => ({IMAGE} y, {IMAGE} z) {{
      [n] a = Transpose (x) [m] b = Transpose (x) [o] y = Sin (a) [p] z = Neg (b) }}"""
    said = {"n": "float input_float", "m": "float equal", "o": "float because", "p": "float because"}
    yield Case("equal nodes run once", twice, said, (pair("a", "o"), pair("b", "p")))
    chain = f"g ({IMAGE} x) => (float[8,32] y) {{ [t] c = Sin (x) [n] a = Reshape (c, s) [m] y = Reshape (a, r) }}"
    shapes = {"s": np.array([4, 8, 8], np.int64), "r": np.array([8, 32], np.int64)}
    said = {"t": "float because", "n": "integer Reshape", "m": "absorbed Reshape"}
    yield Case(
        "chained reshapes run as one", chain, said, (pair("c", "n"), pair("y", OUT, group="c")), constants=shapes
    )
    yield from turning()


def turning() -> Iterator[Case]:
    """What the runtime makes of Transposes behind one another, and of those that read what the caller reads, too."""
    turn, over = "Transpose <perm = [0, 2, 1, 3]>", "Transpose <perm = [0, 1, 3, 2]>"
    pairs = (pair("y", OUT),)
    twice = f"g ({IMAGE} x) => ({IMAGE} y) {{ [t] c = Sin (x) [n] a = {turn} (c) [m] y = {over} (a) }}"
    said = {"n": "absorbed Transpose", "m": "integer Transpose"}
    yield Case("two transposes run as one", twice, said, pairs)
    kept = f"g ({IMAGE} x) => ({IMAGE} k, {IMAGE} y) {{ [t] c = Sin (x) [n] k = {turn} (c) [m] y = {over} (k) }}"
    said = {"n": "float input_float", "m": "float input_float"}
    yield Case("the first of two transposes is for the caller, too", kept, said, pairs)
    read = f"g ({IMAGE} x) => ({IMAGE} k, {IMAGE} y) {{ [t] k = Sin (x) [n] y = {turn} (k) }}"
    yield Case("a transpose reads what the caller reads", read, {"n": "integer Transpose"}, pairs)
    part = f"""g (float[3,1,4,8,8] x) => (float[1,4,8,8] k, float[1,4,8,8] y) {{
      [t] c = Sin (x) [n] a = Transpose <perm = [0, 1, 3, 2, 4]> (c)
      [g] k = Gather <axis = 0> (a, i) [m] y = {over} (k) }}"""
    said = {"n": "float input_float", "g": "float input_float", "m": "float input_float"}
    yield Case("a transpose comes down to the next", part, said, pairs, constants={"i": np.int64(1)})


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


# One node of each operator that moves data: attributes, further inputs, constants.
MOVERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ArgMax": ("", "", {}),
    "DepthToSpace": ("<blocksize = 2>", "", {}),
    "Expand": ("", ", s", {"s": ints(2, 4, 8, 8)}),
    "Flatten": ("", "", {}),
    "Gather": ("<axis = 1>", ", i", {"i": ints(0, 2)}),
    "GatherElements": ("<axis = 1>", ", i", {"i": np.zeros((1, 4, 8, 8), np.int64)}),
    "MaxPool": (POOL, "", {}),
    "ReduceMax": ("", "", {}),
    "ReduceMin": ("", "", {}),
    "Reshape": ("", ", s", {"s": ints(1, 8, 4, 8)}),
    "Resize": ("", ", , s", SCALES),
    "Slice": ("", ", a, b, c", {"a": ints(0), "b": ints(2), "c": ints(1)}),
    "Split": ("<axis = 1>", ", s", {"s": ints(4)}),
    "Squeeze": ("", ", a", {"a": ints(0)}),
    "Tile": ("", ", s", {"s": ints(2, 1, 1, 1)}),
    "Transpose": ("", "", {}),
    "Unsqueeze": ("", ", a", {"a": ints(0)}),
}


def mover(op: str, of: Any) -> Case:
    attrs, more, constants = MOVERS[op]
    place = op == "ArgMax"
    graph = f"g ({IMAGE} x) => ({'int64' if place else 'float'}[] y) {{ [n] y = {op} {attrs} (x{more}) }}"
    graph = graph.replace("[] y", f"[{','.join('?' * RANKS.get(op, 4))}] y")
    pairs = (pair("x", "n", of=of),) if place else io("n", of=of, group="x")
    return Case(op, graph, {}, pairs, constants=constants, opset=17 if of is not U16 else 21)


RANKS = {"Flatten": 2, "Squeeze": 3, "Unsqueeze": 5}
CASES = list(cases())


def built(case: Case) -> tuple[Model, SmallPlan]:
    header = f'<ir_version: {10 if case.opset > 19 else 8}, opset_import: ["": {case.opset}]>'
    proto = onnx.parser.parse_model(f"{header} {case.graph}")
    draw = np.random.default_rng(0)
    for name, value in case.constants.items():
        array = draw.standard_normal(value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_proto(proto), SmallPlan(case.pairs, case.weights, case.biases)


def predicted(case: Case) -> tuple[GraphView, dict[str, Prediction]]:
    model, plan = built(case)
    view = model.view()
    return view, predict(view, {t.tensor: t for t in plan.tensors}, plan.weights, plan.biases, TABLE)


def really(case: Case) -> dict[str, Ran]:
    model, plan = built(case)
    spans = {t.tensor: (-1.0 - index / 64, 1.0) for index, t in enumerate(plan.tensors)} | case.ranges
    InsertQDQ(plan, Measured({k: v[0] for k, v in spans.items()}, {k: v[1] for k, v in spans.items()})).apply(model)
    return dict(read(to_bytes(model), counts=False).nodes)


def sentence(key: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", ".*", re.escape(TABLE.reasons[key])))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_rule(case: Case) -> None:
    _, said = predicted(case)
    runs = really(case)
    for node, expected in case.expect.items():
        verdict, word = expected.split()
        assert said[node].runs == verdict
        assert runs[node].runs == verdict, f"ONNX Runtime runs {runs[node]}"
        if word in TABLE.reasons:
            assert sentence(word).fullmatch(said[node].because)
        elif word == "because":
            assert said[node].because == TABLE.row(said[node].row).because
        elif word == "equal":
            assert said[node].because.startswith("equal to n,")
        else:
            assert said[node].kernel == word


@pytest.mark.parametrize("of", [U8, S8, U16], ids=str)
@pytest.mark.parametrize("op", MOVERS)
def test_operators_that_move_data(op: str, of: Any) -> None:
    case = mover(op, of)
    view, said = predicted(case)
    assert said["n"].runs == really(case)["n"].runs
    takes = of.dtype in TABLE.row_for(view.node("n"), view).activation_types
    assert said["n"].runs == ("integer" if takes else "float")


def test_each_mover_of_the_table_is_run() -> None:
    assert set(MOVERS) == {op for row in TABLE.rows if row.kind == MOVES for op in row.ops}


def test_every_row_is_reached() -> None:
    reached = {prediction.row for case in CASES for prediction in predicted(case)[1].values()}
    assert reached == {row.name for row in TABLE.rows}


def test_every_reason_is_reached() -> None:
    words = {word for case in CASES for word in (e.split()[1] for e in case.expect.values())}
    by_hand = {"bias_type", "folded", "no_float", "output_twice", "weight_float", "weight_granularity"}
    of_requests = {"alone", "columns", "no_weight_only", "weight_only"}  # tests/test_float_weights.py
    of_shapes = {"matrix_channels", "column_bias", "vector_blocks"}  # tests/test_weight_shapes.py
    of_lowered = {"apart", "rises"}  # tests/test_pools.py, test_hard_activations.py
    of_others = {
        "zero_point",
        "computed_scale",
        "many_scales",
        "bias_scale",
        "scalars",
    }  # tests/test_foreign_kernels.py
    # Reasons of dynamic builds are not the predictor's: tests/test_dynamic.py.
    reasons = {key for key in TABLE.reasons if not key.startswith("dynamic_")}
    assert reasons == (words & reasons) | by_hand | of_requests | of_shapes | of_lowered | of_others


def test_every_merge_is_reached() -> None:
    said = {prediction.because for case in CASES for prediction in predicted(case)[1].values()}
    assert {merge.because for merge in TABLE.merges} <= said
    assert {merge.check for merge in TABLE.merges} == set(CHECKS)


def edges_case(change: str) -> str:
    """The reason for a Conv whose edges no plan of ours can make: those of a file from elsewhere."""
    model, plan = built(next(case for case in CASES if case.name == "conv, bias"))
    view = model.view()
    edges = edges_of_plan(view, {t.tensor: t for t in plan.tensors}, plan.weights, plan.biases)
    conv, u8 = view.node("n"), Quant(DTYPES["uint8"], "elsewhere")
    if change == "bias_type":
        edges.reads[Use(conv.index, 2)] = u8
    elif change == "weight_float":
        del edges.reads[Use(conv.index, 1)]
    elif change == "weight_granularity":
        edges.reads[Use(conv.index, 1)] = Quant(DTYPES["int8"], "blocks", Granularity.PER_BLOCK, 2, 1)
    elif change == "output_twice":
        edges.quantize("y", u8, [], to_output=True)
    return predict_edges(view, edges, TABLE)["n"].because


@pytest.mark.parametrize("reason", ["bias_type", "weight_float", "weight_granularity", "output_twice"])
def test_edges_of_a_file_from_elsewhere(reason: str) -> None:
    assert sentence(reason).fullmatch(edges_case(reason))


def test_a_float_graph_stays_float() -> None:
    model, _ = built(next(case for case in CASES if case.name == "relu"))
    view = model.view()
    said = predict_edges(view, float_edges(view), TABLE)
    assert {name: p.runs for name, p in said.items()} == {"n": "float", "act": "float"}


def test_shape_arithmetic_has_nothing_to_quantize() -> None:
    text = f"g ({IMAGE} x) => (int64[4] y) {{ [s] c = Shape (x) [n] y = Mul (c, c) }}"
    case = Case("shapes", text, {})
    _, said = predicted(case)
    assert said["n"].runs == really(case)["n"].runs == "moves"
    assert said["n"].because == TABLE.reasons["no_float"]


@pytest.mark.parametrize("opset", [17, 21])
def test_a_file_that_the_runtime_refuses_is_foreseen(opset: int) -> None:
    graph = f"g ({IMAGE} x) => ({IMAGE} y) {{ [n] y = Transpose (x) }}"
    case = Case("refused", graph, {}, (pair("x", "n", of=S8),), opset=opset)
    model, plan = built(case)
    view = model.view()
    edges: Edges = edges_of_plan(view, {t.tensor: t for t in plan.tensors}, plan.weights, plan.biases)
    assert refused_tensors(view, edges, TABLE) == (("y",) if opset > 20 else ())
    if opset > 20:
        with pytest.raises(Exception, match="output_dtype"):
            really(case)
    else:
        assert really(case)["n"].runs == "integer"
