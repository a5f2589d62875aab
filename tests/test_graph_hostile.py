"""Whatever the bytes, loading gives a Model or diagnostics; odd models by others likewise, in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from graph_cases import IF_TEXT, conv_model, parse
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

import qdsl.graph
from qdsl.diag import QdslError
from qdsl.diag.codes.graph import CODES
from qdsl.passes.pipeline import canonicalise

SEEDS = [
    conv_model().SerializeToString(),
    parse(IF_TEXT).SerializeToString(),
    parse(
        "g (float[4] x) => (float[2] y) { s = Constant <value_ints=[2, 2]> () r = Reshape (x, s) y = ReduceSum (r) }"
    ).SerializeToString(),
]


def _outcome(data: bytes, path: Path) -> str:
    path.write_bytes(data)
    try:
        model = qdsl.graph.load(path)
        model.view()
        canonicalise(model)
        qdsl.graph.to_bytes(model)
    except QdslError as error:
        assert all(diagnostic.code in CODES for diagnostic in error.diagnostics)
        return "diagnostics"
    return "model"


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_any_truncation_or_change_of_bytes_is_survived(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(seed)))
    changed = bytearray(seed if data.draw(st.booleans()) else seed[:cut])
    for _ in range(data.draw(st.integers(0, 4))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.onnx"
    assert _outcome(bytes(changed), path) in ("model", "diagnostics")


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"<html>not here</html>", b"version https://git-lfs", os.urandom(500)]
)
def test_what_is_not_onnx_is_said_to_be_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(QdslError, match="model-unreadable"):
        qdsl.graph.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("path", [".", "m\0.onnx", "a" * 5000, "nowhere/m.onnx", "/dev/zero"])
def test_paths_that_are_no_files(path: str, tmp_path: Path) -> None:
    with pytest.raises(QdslError, match=r"model-(unreadable|missing)"):
        qdsl.graph.load(tmp_path / path)


@pytest.mark.parametrize("dims", [[2**40], [-1], [2**20, 2**20], [2**31, 0], [2**62, 2**62, 2**62]])
def test_dims_are_bounded_before_anything_is_allocated(dims: list[int]) -> None:
    proto = conv_model()
    proto.graph.initializer[0].dims[:] = dims
    with pytest.raises(QdslError, match=r"model-(dims|tensor-size)"):
        qdsl.graph.from_proto(proto)


def test_inputs_of_any_rank_are_bounded_too() -> None:
    proto = conv_model()
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**40
    with pytest.raises(QdslError, match="model-dims"):
        qdsl.graph.from_proto(proto)


def test_a_constant_in_an_attribute_is_checked_like_any_other() -> None:
    proto = parse("g (float[4] x) => (float[4] y) { c = Constant <value = float[2] {1, 2}> () y = Add (x, c) }")
    proto.graph.node[0].attribute[0].t.dims[0] = 2**40
    with pytest.raises(QdslError, match="model-dims"):
        qdsl.graph.from_proto(proto)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[4] x) => (float[N] y) { s = Constant <value_ints=[1099511627776]> () y = ConstantOfShape (s) }",
        "g (float[4] x) => (float[N] y) { s = Constant <value_ints=[65536, 65536, 64]> () y = Expand (o, s)"
        " o = Constant <value_floats=[1.0]> () }",
        "g (float[4] x) => (int64[N] y) { a = Constant <value_int=0> () b = Constant <value_int=9223372036854775807> ()"
        " d = Constant <value_int=1> () y = Range (a, b, d) }",
        "g (float[4] x) => (float[N] y) { o = Constant <value_floats=[1.0]> ()"
        " r = Constant <value_ints=[9223372036854775807]> () y = Tile (o, r) }",
        "g (float[4] x) => (float[N] y) { a = Constant <value_float=0.0> () b = Constant <value_float=3e38> ()"
        " d = Constant <value_float=1e-38> () y = Range (a, b, d) }",
        "g (float[4] x) => (int64[N] y) <int64[0] a = {}> { y = Range (a, a, a) }",
        "g (float[4] x) => (float[N] y) { s = Constant <value_ints=[-5, -7]> () y = ConstantOfShape (s) }",
    ],
)
def test_bombs_are_not_folded(text: str) -> None:
    model = qdsl.graph.from_proto(parse(text))
    trace = canonicalise(model)
    assert trace.refused and model.constant_bytes < 1000


def test_external_data_in_a_body_is_bounded_and_brought_inside(tmp_path: Path) -> None:
    proto = parse(IF_TEXT)
    body = proto.graph.node[1].attribute[0].g
    tensor = TensorProto(name="k", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    body.initializer.append(tensor)
    onnx.save_model(proto, tmp_path / "m.onnx")
    with pytest.raises(QdslError, match="model-external-path"):
        qdsl.graph.load(tmp_path / "m.onnx")
    tensor.external_data[0].value = "k.bin"
    body.initializer[0].CopyFrom(tensor)
    (tmp_path / "k.bin").write_bytes(b"\0" * 16)
    onnx.save_model(proto, tmp_path / "m.onnx")
    back = qdsl.graph.to_proto(qdsl.graph.load(tmp_path / "m.onnx"))
    assert back.graph.node[1].attribute[0].g.initializer[0].raw_data == b"\0" * 16


_SWEEP = """
import sys
from pathlib import Path
import qdsl.graph
from qdsl.diag import QdslError
from qdsl.passes.pipeline import canonicalise
for path in sorted(Path(sys.argv[1]).rglob("*.onnx")):
    try:
        model = qdsl.graph.load(path)
        model.view()
        canonicalise(model)
        data = qdsl.graph.to_bytes(model)
        codes = "model"
    except QdslError as error:
        codes = " ".join(sorted({d.code for d in error.diagnostics}))
    print(path.name, codes)
status = Path("/proc/self/status")  # not ru_maxrss: that begins at the size of the parent
lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0"]
print("peak", next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_every_odd_model_loads_or_is_explained(testdata: Path) -> None:
    root = Path(__file__).parent.parent
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", _SWEEP, str(testdata / "odd")],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert found.returncode == 0, found.stderr[-2000:]
    lines = dict(line.split(" ", 1) for line in found.stdout.splitlines())
    assert int(lines.pop("peak")) < 1_000_000
    assert len(lines) >= 90
    assert lines["test_arbitrary_external_file.onnx"] == "model-external-path"
    assert lines["mul_1.noopset.onnx"] == "model-opset"
    assert lines["weightless.conv.onnx"] == "model-tensor-size"
    assert sum(outcome == "model" for outcome in lines.values()) >= 80
