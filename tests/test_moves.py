"""The table of operators that only move values, held against what they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from qdsl.capability import MOVES as KIND
from qdsl.capability import load as load_table
from qdsl.graph.moves import ANY, FROM_ONE, MOVES, ONCE, REPEATED, RESHAPES, SAME_VALUES, is_data_port, moved, source
from qdsl.graph.sessions import DEPLOYED, Session
from qdsl.graph.view import NodeView
from qdsl.passes.keep_weights import MOVES as MOVED_OVER

OPSET = 18
SHAPE = (2, 4, 6, 6)
Array = NDArray[Any]


def ints(*values: int) -> Array:
    return np.asarray(values, np.int64)


@dataclass(frozen=True)
class Case:
    """What an operator reads by port (a shape stands for values, each of them another), and how much it writes."""

    reads: tuple[tuple[int, ...] | Array, ...] = (SHAPE,)
    attrs: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1


CASES = {
    "CenterCropPad": Case((SHAPE, ints(1, 4, 8, 6))),
    "Compress": Case((SHAPE, np.asarray([True, False, True])), {"axis": 2}),
    "Concat": Case((SHAPE, SHAPE, SHAPE), {"axis": 1}),
    "DepthToSpace": Case(attrs={"blocksize": 2}),
    "Dropout": Case(outputs=2),
    "Expand": Case((SHAPE, ints(3, 2, 4, 6, 6))),
    "Flatten": Case(),
    "Gather": Case((SHAPE, ints(3, 0, 3)), {"axis": 1}),
    "GatherElements": Case((SHAPE, np.zeros((1, 4, 6, 6), np.int64))),
    "GatherND": Case((SHAPE, ints(1, 2)[None])),
    "GlobalMaxPool": Case(),
    "Identity": Case(),
    "Max": Case((SHAPE, SHAPE, SHAPE)),
    "MaxPool": Case(attrs={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, outputs=2),
    "Min": Case((SHAPE, SHAPE)),
    "Pad": Case((SHAPE, ints(0, 0, 1, 1, 0, 0, -1, 0), ())),
    "ReduceMax": Case((SHAPE, ints(1))),
    "ReduceMin": Case((SHAPE, ints(1, 2))),
    "Reshape": Case((SHAPE, ints(2, -1, 3))),
    "ReverseSequence": Case((SHAPE, ints(1, 3)), {"batch_axis": 0, "time_axis": 1}),
    "Slice": Case((SHAPE, ints(1), ints(6), ints(2), ints(2))),
    "SpaceToDepth": Case(attrs={"blocksize": 3}),
    "Split": Case((SHAPE, ints(1, 3)), {"axis": 1}, 2),
    "Squeeze": Case(((1, 4, 1, 6),)),
    "Tile": Case((SHAPE, ints(1, 2, 1, 3))),
    "TopK": Case((SHAPE, ints(2)), {"axis": 1}, 2),
    "Transpose": Case(attrs={"perm": [0, 2, 3, 1]}),
    "Trilu": Case(),
    "Unsqueeze": Case((SHAPE, ints(0, 3))),
    "Where": Case((np.arange(6) % 3 > 0, SHAPE, SHAPE)),
}


def run(op: str, sign: int = 1) -> tuple[list[Array], list[Array]]:
    """What the operator reads by port, and what it writes in ONNX Runtime."""
    case, draw = CASES[op], np.random.default_rng(7)
    values = sign * (draw.permutation(2000).astype(np.float32) + 1)
    read = [
        values[300 * at : 300 * at + prod(one)].reshape(one) if isinstance(one, tuple) else one
        for at, one in enumerate(case.reads)
    ]
    names, outputs = [f"x{at}" for at in range(len(read))], [f"y{at}" for at in range(case.outputs)]
    fixed = [
        numpy_helper.from_array(one, name) for one, name in zip(read, names, strict=True) if one.dtype != np.float32
    ]
    feeds = {name: one for one, name in zip(read, names, strict=True) if one.dtype == np.float32}
    graph = helper.make_graph(
        [helper.make_node(op, names, outputs, **case.attrs)],
        "moves",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, one.shape) for name, one in feeds.items()],
        [ValueInfoProto(name=name) for name in outputs],
        fixed,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    return read, Session(proto.SerializeToString(), DEPLOYED).run(outputs, feeds)


def values_of(arrays: Iterable[Array]) -> Counter[float]:
    return Counter(float(value) for array in arrays for value in array.ravel())


def test_every_row_is_tried() -> None:
    assert set(CASES) == set(MOVES)


@pytest.mark.parametrize("op", MOVES)
def test_what_is_written_was_read(op: str) -> None:
    read, written = run(op)
    move = MOVES[op]
    holding = written[:1] if move.first else written
    data, found = values_of(one for port, one in enumerate(read) if port in move.data), values_of(holding)
    own = set(found) - set(data)
    assert own <= ({0.0} if move.fills else set()), "nothing but what was read"
    assert bool(own) or op == "Pad" or not move.fills, "what fills does so"
    assert all(each.dtype == np.float32 for each in holding)
    assert not any(each.dtype == np.float32 for each in written[len(holding) :] if op != "Dropout")
    kept = ONCE if found == data else REPEATED if found >= data else ANY
    assert kept == move.kept
    alike = np.array_equal(read[move.data[0]].ravel(), holding[0].ravel())
    assert alike == move.ordered, "only what reshapes leaves all as it lies in memory"


@pytest.mark.parametrize("op", MOVES)
def test_who_chooses_by_place_takes_any_values(op: str) -> None:
    """Which values lie where decides of a maximum what is written, and of nothing else: of negated values others."""
    holding = slice(0, 1) if MOVES[op].first else slice(None)
    plain, negated = run(op)[1][holding], run(op, -1)[1][holding]
    same = all(np.array_equal(-a, b) for a, b in zip(plain, negated, strict=True))
    assert same != MOVES[op].by_value


def node_of(op: str, inputs: tuple[str, ...], domain: str = "") -> NodeView:
    return NodeView(0, "one", op, domain, inputs, ("y",), {}, ())


def test_ports_hold_what_is_written() -> None:
    assert moved(node_of("Concat", ("a", "", "b"))) == ("a", "b")
    where = node_of("Where", ("c", "a", "b"))
    assert [is_data_port(where, port) for port in range(3)] == [False, True, True]
    assert source(node_of("Gather", ("a", "at"))) == "a"
    assert source(node_of("Max", ("a",))) == "a"
    assert source(node_of("Max", ("a", "b"))) is None


@pytest.mark.parametrize(
    "node",
    [
        node_of("Pad", ("a", "pads")),
        node_of("Dropout", ("a", "ratio", "training")),
        node_of("Relu", ("a",)),
        node_of("Gather", ("a", "at"), "elsewhere"),
    ],
    ids=["fills", "training", "computes", "another domain"],
)
def test_what_may_write_other_values_has_no_source(node: NodeView) -> None:
    assert moved(node) == () and source(node) is None


def test_a_dropout_without_a_training_mode_copies() -> None:
    assert source(node_of("Dropout", ("a", "ratio", ""))) == source(node_of("Dropout", ("a",))) == "a"


def test_properties_nest() -> None:
    assert RESHAPES - {"Dropout"} < SAME_VALUES < FROM_ONE
    assert set(MOVED_OVER) < FROM_ONE | {"MaxPool"}, "what the runtime moves a Q/DQ pair over moves values"


def test_rows_that_move_are_in_the_table() -> None:
    """ArgMax reads integers and writes places; a Resize moves in one of its modes, which the row asks for."""
    rows = {op for row in load_table("ort_cpu").rows if row.kind == KIND for op in row.ops}
    assert rows - set(MOVES) == {"ArgMax", "Resize"}


# What writes nothing but values that it read in all of ONNX's own cases, and has no row.
UNLISTED = {
    "OneHot": "its two values are constants",
    "OptionalGetElement": "of an optional, not of a tensor",
    "Scatter": "deprecated; what replaced it may add",
    "Sign": "the values of its case are signs",
    "TensorScatter": "a cache that is written in place",
    "Unique": "how many values it writes depends on them",
    "Upsample": "linear in another mode",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_operator_of_onnx_is_missing() -> None:
    from onnx.backend.test.case.node import collect_testcases

    fits: dict[str, list[bool]] = {}
    for case in collect_testcases(None):
        nodes = case.model.graph.node if case.model is not None else ()
        if len(nodes) != 1 or nodes[0].domain:
            continue
        for inputs, outputs in case.data_sets or ():
            written = outputs[0]
            if isinstance(written, np.ndarray) and written.dtype.kind == "f":
                same = [a for a in inputs if isinstance(a, np.ndarray) and a.dtype == written.dtype]
                read = np.concatenate([a.ravel() for a in same]) if same else np.zeros(0)
                fits.setdefault(nodes[0].op_type, []).append(bool(np.isin(written, read).all()))
    found = {op for op, each in fits.items() if all(each)}
    assert len(fits) > 100
    assert found - set(MOVES) == set(UNLISTED)
