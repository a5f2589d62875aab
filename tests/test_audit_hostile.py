"""Files whose quantization makes no sense: the audit says what is wrong or refuses them, and never breaks."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign_files import integer_conv, integer_matmul, of_activations, scaled
from onnx import GraphProto, ModelProto, helper, numpy_helper

import qdsl.api
from qdsl.auditing.formats.data import render as as_json
from qdsl.auditing.formats.index import FORMATS, rendered
from qdsl.auditing.formats.terminal import render as in_words
from qdsl.diag import QdslError

CODES = np.ones((4, 3, 1, 1), np.int8)
TYPES = (np.float32, np.int8, np.uint8, np.int32, np.float16, np.int64, np.float64)
OPERATORS = ("QLinearConv", "MatMulInteger", "Foo", "QuantizeLinear", "DequantizeLinear", "Clip", "Concat", "Transpose")
BASES: tuple[Callable[[], ModelProto], ...] = (
    lambda: integer_conv(CODES),
    lambda: integer_conv(CODES, operators=True),
    lambda: integer_conv(CODES, signed=True, zeros=[0, 1, 2, 3]),
    lambda: integer_matmul(np.ones((3, 4), np.int8)),
    lambda: scaled("Conv", CODES, 0, bias=np.ones(4, np.int32), step=1e-3),
    lambda: of_activations((np.uint8, np.uint8), shared=True),
)


def names(graph: GraphProto) -> list[str]:
    return [*(x for node in graph.node for x in (*node.input, *node.output)), *(i.name for i in graph.initializer)]


def other_input(graph: GraphProto, dice: random.Random) -> None:
    node = dice.choice(graph.node)
    node.input[dice.randrange(len(node.input))] = dice.choice(names(graph))


def other_length(graph: GraphProto, dice: random.Random) -> None:
    def cut(values: Any) -> Any:
        return values.reshape(-1)[: dice.randrange(values.size + 1)]

    _replace(dice.choice(graph.initializer), cut)


def other_type(graph: GraphProto, dice: random.Random) -> None:
    with np.errstate(all="ignore"):
        _replace(dice.choice(graph.initializer), lambda values: values.astype(dice.choice(TYPES)))


def other_value(graph: GraphProto, dice: random.Random) -> None:
    def spoil(values: Any) -> Any:
        spoilt = values.copy().reshape(-1)
        odd = (0, -1, np.nan, np.inf, 1e-40) if values.dtype.kind == "f" else (0, 127)
        spoilt[dice.randrange(spoilt.size)] = dice.choice(odd)
        return spoilt.reshape(values.shape)

    _replace(dice.choice(graph.initializer), spoil)


def other_operator(graph: GraphProto, dice: random.Random) -> None:
    dice.choice(graph.node).op_type = dice.choice(OPERATORS)


def other_domain(graph: GraphProto, dice: random.Random) -> None:
    dice.choice(graph.node).domain = dice.choice(("", "com.microsoft", "x.y", "ai.onnx"))


def other_axis(graph: GraphProto, dice: random.Random) -> None:
    node = dice.choice(graph.node)
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("axis", dice.choice((-9, -1, 0, 1, 2, 7, 2**40))))


def fewer_inputs(graph: GraphProto, dice: random.Random) -> None:
    dice.choice(graph.node).input.pop()


def more_inputs(graph: GraphProto, dice: random.Random) -> None:
    dice.choice(graph.node).input.append(dice.choice(names(graph)))


def one_node_less(graph: GraphProto, dice: random.Random) -> None:
    graph.node.remove(dice.choice(graph.node))


def _replace(stored: Any, change: Callable[[Any], Any]) -> None:
    stored.CopyFrom(numpy_helper.from_array(np.asarray(change(numpy_helper.to_array(stored))), stored.name))


SPOILERS = (
    *(other_input, other_length, other_type, other_value, other_operator, other_domain, other_axis),
    *(fewer_inputs, more_inputs, one_node_less),
)


def spoilt(proto: ModelProto, dice: random.Random) -> ModelProto:
    for _ in range(dice.choice((1, 1, 2, 4))):
        with suppress(ValueError, IndexError, OverflowError):
            dice.choice(SPOILERS)(proto.graph, dice)
    return proto


def looked_at(proto: ModelProto, folder: Path, *, every: bool = False) -> bool:
    """Whether the audit took the file; one that it refuses is told with a code."""
    (folder / "spoilt.onnx").write_bytes(proto.SerializeToString())
    try:
        report = qdsl.api.audit(folder / "spoilt.onnx").report
    except QdslError as refused:
        assert refused.diagnostics
        return False
    in_words(report)
    as_json(report)
    for name in FORMATS.keys() - {"html"} if every else ():  # which needs an extra
        rendered(name, report)
    return True


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_spoilt_files_are_told_or_refused(tmp_path: Path) -> None:
    dice = random.Random(7)
    taken = sum(looked_at(spoilt(dice.choice(BASES)(), dice), tmp_path) for _ in range(150))
    assert 50 < taken < 150


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_spoilt_files_of_others_are_told_or_refused(tmp_path: Path, testdata: Path) -> None:
    files = [*sorted((testdata / "audit_corpus").glob("*.onnx")), *sorted((testdata / "odd" / "ort").glob("*q*.onnx"))]
    dice = random.Random(11)
    taken = sum(looked_at(spoilt(onnx.load(dice.choice(files)), dice), tmp_path, every=True) for _ in range(1500))
    assert taken > 300


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("stored", ["ws", "wz", "s", "z"])
def test_parameters_without_a_number_are_a_fault(stored: str, tmp_path: Path) -> None:
    proto = integer_conv(CODES, zeros=[0, 1, 2, 3])
    kept = next(each for each in proto.graph.initializer if each.name == stored)
    _replace(kept, lambda values: values.reshape(-1)[:0])
    assert looked_at(proto, tmp_path, every=True)


@pytest.mark.filterwarnings("error")
def test_a_bias_whose_steps_are_past_floats_is_no_division_by_zero(tmp_path: Path) -> None:
    proto = scaled("Conv", CODES, 0, bias=np.ones(4, np.int32), step=1e-3)
    for each in proto.graph.initializer:
        if numpy_helper.to_array(each).dtype == np.float32:
            _replace(each, lambda values: np.full(values.shape, 1e-45, np.float32))
    assert looked_at(proto, tmp_path, every=True)


@pytest.mark.filterwarnings("error")
def test_a_weight_of_one_number_and_a_mover_that_reads_nothing(tmp_path: Path) -> None:
    proto = integer_conv(CODES, operators=True)
    kept = next(each for each in proto.graph.initializer if each.name == "w")
    _replace(kept, lambda values: values.reshape(-1)[0])
    looked_at(proto, tmp_path, every=True)
    proto = integer_conv(CODES)
    proto.graph.node.insert(0, helper.make_node("MaxPool", [], ["nothing"], name="nothing"))
    looked_at(proto, tmp_path, every=True)
