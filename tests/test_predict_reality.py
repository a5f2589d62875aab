"""How the optimized graph is read back onto the nodes of the float model."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from qdsl.targets.ort.reality import read
from qdsl.targets.results import Ran

SILU = """g (float[1,4,8,8] x, float[4,4,1,1] w) => (float[1,4,8,8] y) {
  [conv] c = Conv (x, w) [sigmoid] s = Sigmoid (c) [mul] y = Mul (c, s) }"""
FLAT = """g (float[1,4,8,8] x, float[4,4,1,1] w) => (float[1,4,8,8] y) {
  [conv] c = Conv (x, w) [relu] y = Relu (c) }"""
SHAPES = """g (float[N,4] x) => (float[4,N] y) {
  [shape] s = Shape (x) [two] t = Gather <axis = 0> (s, i) [turn] y = Transpose (x) }"""


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')


def test_nodes_fused_in_float_are_float() -> None:
    assert set(read(model(SILU).SerializeToString()).nodes.values()) == {
        Ran("float", "Conv"),
        Ran("float", "QuickGelu"),
    }
    assert read(model(FLAT).SerializeToString()).nodes["relu"].runs == "float"


def test_nodes_without_float_data_move() -> None:
    proto = model(SHAPES)
    proto.graph.initializer.append(onnx.helper.make_tensor("i", onnx.TensorProto.INT64, [1], [0]))
    nodes = read(proto.SerializeToString()).nodes
    assert {name: ran.runs for name, ran in nodes.items()} == {"shape": "float", "two": "moves", "turn": "float"}


def test_a_file_and_its_bytes_read_the_same(tmp_path: Path) -> None:
    proto = model(SILU)
    onnx.save(proto, tmp_path / "silu.onnx")
    assert read(tmp_path / "silu.onnx") == read(proto.SerializeToString())
    assert list(tmp_path.iterdir()) == [tmp_path / "silu.onnx"]


def test_counts_are_of_the_graph_that_runs() -> None:
    counts = read(model(FLAT).SerializeToString()).op_counts
    assert "Relu" not in counts
    assert list(counts) == sorted(counts)


def test_a_file_that_does_not_load_raises() -> None:
    with pytest.raises(Exception, match="Nonsense"):
        read(model(SILU.replace("Sigmoid", "Nonsense")).SerializeToString())


PARTS = {
    "Slice": "[a] a = Slice (d, i0, i2, i1) [b] b = Slice (d, i2, i4, i1)",
    "Gather": "[a] a = Gather <axis = 2> (d, s0) [b] b = Gather <axis = 2> (d, s1)",
    "Gather of one": "[a] a = Gather <axis = 2> (d, i0) [b] b = Gather <axis = 2> (d, i1)",
}


@pytest.mark.parametrize("quantized", ["a", "b", "ab"])
@pytest.mark.parametrize("parts", PARTS)
def test_parts_of_one_tensor_run_as_one_split(parts: str, quantized: str) -> None:
    """Where all parts are integers the runtime makes one Split of what takes them, of a Slice's without being asked."""
    pairs = "".join(
        f"[q{n}] {n}q = QuantizeLinear ({n}, scale, zero) [d{n}] {n}d = DequantizeLinear ({n}q, scale, zero) "
        for n in quantized
    )
    reads = {n: f"{n}d" if n in quantized else n for n in "ab"}
    proto = model(
        f"""g (float[1,4,2,5] x) => (float y, float z)
        <float scale = {{0.05}}, uint8 zero = {{3}}, int64 s0 = {{0}}, int64 s1 = {{1}},
         int64[1] i0 = {{0}}, int64[1] i1 = {{1}}, int64[1] i2 = {{2}}, int64[1] i4 = {{4}}> {{
        [q] q = QuantizeLinear (x, scale, zero) [dq] d = DequantizeLinear (q, scale, zero)
        {PARTS[parts]} {pairs} [neg] y = Neg ({reads["a"]}) [tanh] z = Tanh ({reads["b"]}) }}"""
    )
    ran = read(proto.SerializeToString()).nodes
    integers = "ab" if parts == "Slice" else quantized
    assert {name: ran[name].runs for name in "ab"} == {n: "integer" if n in integers else "float" for n in "ab"}
