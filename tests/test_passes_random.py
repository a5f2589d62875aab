"""Random graphs through the canonical pipeline: ONNX Runtime gives the same before and after, whatever the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

import qdsl.graph
from qdsl.passes.index import PASSES, make, pass_class
from qdsl.passes.pipeline import CANONICAL, canonicalise
from qdsl.rewrite import run
from qdsl.rewrite.facts import ALWAYS, offenders

SHAPE = (1, 4, 3, 3)
_LEAST, _MOST = np.float32(0), np.finfo(np.float32).max


class _Builder:
    """Every tensor in `pool` has SHAPE, so that any operator fits anywhere."""

    def __init__(self, seed: int, opset: int) -> None:
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list = []
        self.constants: list[TensorProto] = []
        self.pool = ["x"]

    def constant(self, array: np.ndarray) -> str:
        """An initializer, or a Constant node."""
        name = f"k{len(self.constants) + len(self.nodes)}"
        if self.random.random() < 0.5:
            self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        else:
            self.nodes.append(
                helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(array)))
            )
        return name

    def floats(self, *shape: int, low: float = -1, high: float = 1) -> str:
        # Few distinct values, so that equal constants occur.
        return self.constant(self.random.choice([low, (low + high) / 2, high], shape).astype(np.float32))

    def add(self, op: str, inputs: Sequence[str], **attrs: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attrs))
        return name


def _conv(b: _Builder, x: str) -> str:
    bias = [b.floats(4)] if b.random.random() < 0.5 else []
    return b.add("Conv", [x, b.floats(4, 2, 1, 1), *bias], group=2)


def _transposed(b: _Builder, x: str) -> str:
    return b.add("ConvTranspose", [x, b.floats(4, 2, 1, 1)], group=2)


def _norm(b: _Builder, x: str) -> str:
    parameters = [b.floats(4), b.floats(4), b.floats(4), b.floats(4, low=0.5, high=2)]
    return b.add("BatchNormalization", [x, *parameters], epsilon=0.01)


def _clip(b: _Builder, x: str) -> str:
    low, high = b.random.choice([-1, 0, 1]), b.random.choice([2, 6, _MOST])
    if b.opset < 11:
        return b.add("Clip", [x], min=float(low), max=float(high))
    ends = [b.constant(np.float32(low)), b.constant(np.float32(high))]
    return b.add("Clip", [x, *ends[: int(b.random.integers(0, 3))]])


def _bound(op: str) -> Callable[[_Builder, str], str]:
    return lambda b, x: b.add(op, [x, b.constant(np.float32(b.random.choice([0, 1, 6])))])


def _reshape(b: _Builder, x: str) -> str:
    """Through a shape that is computed from another tensor's."""
    shape = b.add("Shape", [b.pool[0]])
    zeros = b.add("Sub", [shape, shape])
    return b.add("Reshape", [x, b.add("Add", [zeros, shape])])


def _if(b: _Builder, x: str) -> str:
    """Bodies that read tensors of the outer graph by name."""
    other = b.pool[-1]
    bodies = {
        name: helper.make_graph(
            [helper.make_node(op, [read], [f"{name}_out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", 1, SHAPE)],
        )
        for name, op, read in (("then_branch", "Neg", x), ("else_branch", "Abs", other))
    }
    return b.add("If", [b.constant(np.array(True))], **bodies)


def _affine(b: _Builder, x: str) -> str:
    """By a constant per channel, for all, or along the width."""
    shape = [(1, 4, 1, 1), (4, 1, 1), (), (1,), (3,)][b.random.integers(0, 5)]
    op = str(b.random.choice(["Mul", "Add", "Sub", "Div"]))
    inputs = [x, b.floats(*shape, low=0.5, high=2)]
    return b.add(op, inputs[::-1] if op != "Div" and b.random.random() < 0.3 else inputs)


def _mean(b: _Builder, x: str) -> str:
    """Scaled by the mean over the map, as a squeeze-and-excitation block does, or over something else."""
    axes = [[2, 3], [-1, -2], [1, 2], [3]][b.random.integers(0, 4)]
    keeps = len(axes) == 1 or b.random.random() < 0.6
    given = {} if b.opset >= 18 else {"axes": axes}
    inputs = [x, b.constant(np.array(axes))] if b.opset >= 18 else [x]
    mean = b.add("ReduceMean", inputs, keepdims=int(keeps), **given)
    if not keeps:
        mean = b.add("Reshape", [mean, b.constant(np.array([1, 4, 1, 1] if 1 not in axes else [1, 1, 1, 3]))])
    return b.add("Mul", [x, mean])


def _hard(b: _Builder, x: str) -> str:
    """HardSigmoid or HardSwish spelled out, or nearly so."""
    start, width = b.random.choice([3, 2]), b.random.choice([6, 6, 5])
    inner = b.add("Add", [x, b.constant(np.float32(start))])
    if b.opset < 11:
        inner = b.add("Clip", [inner], min=0.0, max=6.0)
    else:
        inner = b.add("Clip", [inner, b.constant(np.float32(0)), b.constant(np.float32(6))])
    inner = b.add("Mul", [x, inner]) if b.random.random() < 0.5 else inner
    return b.add("Div", [inner, b.constant(np.float32(width))])


def _softmax(b: _Builder, x: str) -> str:
    """Exponentials over their sum, of small values or of what the largest was taken from."""
    axis = int(b.random.choice([3, 3, 1]))
    stable = b.random.random() < 0.5 and b.opset < 18
    x = b.add("Sub", [x, b.add("ReduceMax", [x], axes=[axis])]) if stable else b.add("Tanh", [x])
    power = b.add("Exp", [x])
    total = b.add("ReduceSum", [power], axes=[axis]) if b.opset < 13 else ""
    return b.add("Div", [power, total or b.add("ReduceSum", [power, b.constant(np.array([axis]))])])


_UNARY: dict[str, Callable[[_Builder, str], str]] = {
    "conv": _conv,
    "convtranspose": _transposed,
    "norm": _norm,
    "norm after conv": lambda b, x: _norm(b, _conv(b, x)),
    "norm after convtranspose": lambda b, x: _norm(b, _transposed(b, x)),
    "clip": _clip,
    "max": _bound("Max"),
    "min": _bound("Min"),
    "min of max": lambda b, x: _bound("Min")(b, _bound("Max")(b, x)),
    "reshape": _reshape,
    "if": _if,
    "identity": lambda b, x: b.add("Identity", [x]),
    "dropout": lambda b, x: b.add("Dropout", [x]),
    "relu": lambda b, x: b.add("Relu", [x]),
    "sigmoid": lambda b, x: b.add("Sigmoid", [x]),
    "mean": _mean,
    "hard": _hard,
    "softmax": _softmax,
    "affine": _affine,
    "affine after conv": lambda b, x: _affine(b, _conv(b, x)),
    "affine after convtranspose": lambda b, x: _affine(b, _transposed(b, x)),
    "constant": lambda b, x: b.add("Mul", [b.floats(*SHAPE), b.floats(1)]),
}
STEPS = st.lists(
    st.tuples(st.sampled_from([*_UNARY, "add"]), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=14
)


def _model(steps: list[tuple[str, int, int]], seed: int, opset: int, outputs: set[int]) -> ModelProto:
    b = _Builder(seed, opset)
    for kind, first, second in steps:
        x, y = b.pool[-1 - first % len(b.pool)], b.pool[-1 - second % len(b.pool)]
        b.pool.append(b.add("Add", [x, y]) if kind == "add" else _UNARY[kind](b, x))
    ends = [*dict.fromkeys([*(b.pool[1:][i % len(steps)] for i in sorted(outputs)), b.pool[-1]])]
    graph = helper.make_graph(
        b.nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ends],
        b.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def _results(data: bytes) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    x = np.random.default_rng(0).uniform(-8, 8, SHAPE).astype(np.float32)
    return list(ort.InferenceSession(data, options).run(None, {"x": x}))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 2**16), st.sampled_from([9, 11, 13, 17, 21]), st.sets(st.integers(0, 13), max_size=3))
def test_the_pipeline_changes_no_result(
    steps: list[tuple[str, int, int]], seed: int, opset: int, outputs: set[int]
) -> None:
    model = qdsl.graph.from_proto(_model(steps, seed, opset, outputs))
    before, ends = qdsl.graph.to_bytes(model), model.view().outputs
    canonicalise(model)
    after = qdsl.graph.to_bytes(model)
    assert model.view().outputs == ends
    for was, now in zip(_results(before), _results(after), strict=True):
        np.testing.assert_allclose(now, was, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(was).max())))
    assert canonicalise(model).edits == 0 and qdsl.graph.to_bytes(model) == after
    promised = [fact for name in CANONICAL for fact in pass_class(name).ensures]
    assert [fact.__name__ for fact in (*ALWAYS, *promised) if offenders(model, fact)] == []


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(STEPS, st.integers(0, 2**16), st.permutations([name for name in PASSES if name in CANONICAL]))
def test_passes_agree_in_any_order(steps: list[tuple[str, int, int]], seed: int, order: list[str]) -> None:
    """Later stages need constants as initializers; beyond that no order changes a result or breaks a contract."""
    model = qdsl.graph.from_proto(_model(steps, seed, 17, set()))
    before = _results(qdsl.graph.to_bytes(model))
    run([make("constant_nodes"), *map(make, order)], model)
    after = _results(qdsl.graph.to_bytes(model))
    np.testing.assert_allclose(after[0], before[0], rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(before[0]).max())))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(STEPS, st.integers(0, 2**16), st.randoms(use_true_random=False))
def test_the_order_of_nodes_in_the_file_does_not_matter_for_results(
    steps: list[tuple[str, int, int]], seed: int, random: object
) -> None:
    proto = _model(steps, seed, 17, set())
    before = _results(qdsl.graph.to_bytes(qdsl.graph.from_proto(_copy(proto))))
    nodes = list(proto.graph.node)
    random.shuffle(nodes)  # type: ignore[attr-defined]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    after = _results(qdsl.graph.to_bytes(qdsl.graph.from_proto(proto)))
    np.testing.assert_array_equal(after[0], before[0])


def _copy(proto: ModelProto) -> ModelProto:
    made = ModelProto()
    made.CopyFrom(proto)
    return made
