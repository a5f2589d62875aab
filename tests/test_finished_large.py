"""Large and hostile files: weights stay on disk, time is linear in the graph, and nothing in a file is trusted."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from finished_tools import read_text
from onnx import TensorProto, helper, numpy_helper

from qdsl.finished.fixed import Fixed
from qdsl.finished.reading import read
from qdsl.finished.records import Form
from qdsl.graph import from_proto, load, to_bytes
from qdsl.graph.constants import External

ROWS, COLUMNS = 2**17, 2**14  # 2 GiB of int8


def external(name: str, kind: int, dims: list[int], length: int) -> TensorProto:
    made = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "weights.bin", "offset": "0", "length": str(length)}.items():
        made.external_data.add(key=key, value=value)
    return made


def test_two_gigabytes_of_weights_stay_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["wd"], name="stored", axis=1),
        helper.make_node("MatMul", ["x", "wd"], ["m"], name="matmul"),
        helper.make_node("QuantizeLinear", ["v", "t"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "t"], ["vd"], name="dequantize"),
        helper.make_node("Add", ["m", "vd"], ["y"], name="add"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, ROWS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, COLUMNS])],
        [
            external("w", TensorProto.INT8, [ROWS, COLUMNS], ROWS * COLUMNS),
            external("v", TensorProto.FLOAT, [ROWS // 4, COLUMNS], ROWS * COLUMNS),
            numpy_helper.from_array(np.ones(COLUMNS, np.float32), "s"),
            numpy_helper.from_array(np.float32(0.5), "t"),
        ],
    )
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(ROWS * COLUMNS)  # a hole: it takes no room
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    monkeypatch.setattr(External, "load", lambda self: pytest.fail("a weight was read"))
    monkeypatch.setattr(External, "chunks", lambda self, size=0: pytest.fail("a weight was read"))
    model = load(tmp_path / "m.onnx")
    tracemalloc.start()
    try:
        found = read(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [each.form for each in found.tensors] == [Form.STORED, Form.FLOAT_PAIR]
    assert peak < 4 * 2**20


def test_a_scale_that_is_no_scale_is_not_read(tmp_path: Path) -> None:
    """Of a size that no scale has: its parameters are known by their name alone."""
    size = 2**23 + 1
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["x", "s"], ["y"], name="dequantize", axis=0)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size])],
        [external("s", TensorProto.FLOAT, [size], 4 * size)],
    )
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(4 * size)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    (found,) = read(load(tmp_path / "m.onnx")).tensors
    assert found.parameters.scale is None and "s" in found.parameters.key


def test_nothing_is_changed() -> None:
    text = """
g (float[1, 2] x) => (float[1, 2] y) {
  w = Constant <value = int8[2, 2] {1, 2, 3, 4}> ()
  s = Constant <value_float = 0.5> ()
  wd = DequantizeLinear (w, s)
  y = MatMul (x, wd)
}"""
    model = read_text(text).model
    before = to_bytes(model)
    read(model)
    assert to_bytes(model) == before


def chain(links: int, every: int) -> onnx.ModelProto:
    """Integers through a chain of Transposes, dequantized after every so many of them."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "s"], ["t0"], name="q")]
    for at in range(links):
        nodes.append(helper.make_node("Transpose", [f"t{at}"], [f"t{at + 1}"], name=f"n{at}", perm=[1, 0]))
        if at % every == 0:
            nodes.append(helper.make_node("DequantizeLinear", [f"t{at + 1}", "s"], [f"d{at}"], name=f"dq{at}"))
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
            [helper.make_tensor_value_info(f"t{links}", TensorProto.UINT8, [2, 2])],
            [numpy_helper.from_array(np.float32(0.5), "s")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def test_a_chain_of_movers_is_followed_so_far() -> None:
    """Every DequantizeLinear is in one record, those beyond the bound alone."""
    found = read(from_proto(chain(2000, 10)))
    names = [name for each in found.tensors for name in each.dequantizers]
    assert len(names) == len(set(names)) == 200
    assert found.tensors[0].form is Form.PAIR and len(found.tensors[0].dequantizers) >= 20


def test_integers_that_are_doubled_at_each_step() -> None:
    """A graph in which 2^40 ways lead from Q to DQ is walked once."""
    nodes = [helper.make_node("QuantizeLinear", ["x", "s"], ["t0"], name="q")]
    nodes += [helper.make_node("Max", [f"t{at}", f"t{at}"], [f"t{at + 1}"], name=f"n{at}") for at in range(40)]
    nodes.append(helper.make_node("DequantizeLinear", ["t40", "s"], ["y"], name="dq"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.float32(0.5), "s")],
    )
    model = from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    (pair,) = read(model).tensors
    assert pair.form is Form.PAIR and len(pair.between) == 40


def test_a_scale_that_is_computed_from_itself_many_times() -> None:
    """A sum that doubles thirty times is computed once for each step."""
    nodes = [helper.make_node("Add", [f"s{at}", f"s{at}"], [f"s{at + 1}"], name=f"n{at}") for at in range(30)]
    nodes.append(helper.make_node("QuantizeLinear", ["x", "s30"], ["y"], name="q"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [2])],
        [numpy_helper.from_array(np.float32(2.0**-30), "s0")],
    )
    model = from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert "s30" in Fixed(model)
    (found,) = read(model).tensors
    assert found.parameters.scale == 1.0
