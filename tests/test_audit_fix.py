"""`qdsl audit --fix`: what is mended without data computes the same to the bit, and what cannot be is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import residual_net
from numpy.typing import NDArray
from onnx import numpy_helper

import qdsl
from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.fixes.index import FIXES
from qdsl.auditing.fixing import Mended, mend
from qdsl.cli import main
from qdsl.diag import QdslError, Severity
from qdsl.finished.reading import read
from qdsl.finished.records import Role
from qdsl.graph import Model, from_proto, to_proto
from qdsl.targets.ort.exact_products import exact_products
from qdsl.targets.ort.reality import read as reality

Arrays = list[NDArray[np.float32]]

# A pair read twice, as SiLU and residual adds have it; a pair after a pair; a Q that nobody reads.
PAIRS = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y)
<float s = {0.05}, float t = {0.03}, int8 z = {7}, int8 m = {-3}>
{
  [q] i = QuantizeLinear (x, s, z)
  [d] a = DequantizeLinear (i, s, z)
  [relu] r = Relu (a)
  [add] b = Add (a, r)
  [q2] j = QuantizeLinear (b, t, m)
  [d2] c = DequantizeLinear (j, t, m)
  [q3] k = QuantizeLinear (c, t, m)
  [d3] e = DequantizeLinear (k, t, m)
  [q4] l = QuantizeLinear (e, s, z)
  [d4] f = DequantizeLinear (l, s, z)
  [out] y = Sigmoid (e)
}
"""
# A bias of integers, a scale per channel without its axis, and no zero point at all.
LAYER = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[2, 3] x) => (float[2, 4] y)
<float s = {0.05}, uint8 z = {128}, int8[3, 4] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4] ws = {0.1, 0.2, 0.3, 0.4},
 int32[4] b = {10, -20, 30, -40}, float[4] bs = {0.005, 0.01, 0.015, 0.02}>
{
  [q] i = QuantizeLinear (x, s, z)
  [d] a = DequantizeLinear (i, s, z)
  [dw] v = DequantizeLinear (w, ws)
  [db] c = DequantizeLinear <axis = 0> (b, bs)
  [gemm] y = Gemm (a, v, c)
}
"""


def model_of(text: str) -> Model:
    return from_proto(onnx.parser.parse_model(text))


def mended(model: Model, *rewrites: str, waived: str = "") -> Mended:
    """What is done where findings call for `rewrites`; one on the node `waived` is allowed to stand."""
    told = [
        Finding("any", Severity.WARNING, Place("file"), "", "", fix=Fix(rewrite=rewrite), waived="")
        for rewrite in rewrites
    ]
    if waived:
        told.append(
            Finding(
                "any", Severity.WARNING, Place("node", waived), "", "", fix=Fix(rewrite=rewrites[0]), waived="meant"
            )
        )
    return mend(model, told)


def as_written(proto: onnx.ModelProto | bytes | str, feeds: dict[str, NDArray[np.float32]]) -> Arrays:
    """The outputs with every node run by itself, products of integers added exactly on any CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    found = onnx.load(proto) if isinstance(proto, str) else proto
    found = onnx.load_from_string(found) if isinstance(found, bytes) else found
    content = exact_products(found).SerializeToString()
    return ort.InferenceSession(content, options).run(None, feeds)  # type: ignore[no-any-return]


def drawn(model: Model) -> dict[str, NDArray[np.float32]]:
    draw = np.random.default_rng(3)
    return {t.name: draw.normal(0, 2, t.shape).astype(np.float32) for t in model.graph.inputs}


def require_equal(before: Model, after: Model) -> None:
    feeds = drawn(before)
    for one, other in zip(as_written(to_proto(before), feeds), as_written(to_proto(after), feeds), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("text", [PAIRS, LAYER])
@pytest.mark.parametrize("rewrite", FIXES)
def test_every_rewrite_keeps_every_bit(text: str, rewrite: str) -> None:
    before, after = model_of(text), model_of(text)
    mended(after, rewrite)
    require_equal(before, after)


def ops(model: Model) -> list[str]:
    return [node.op for node in model.nodes()]


def test_int8_becomes_uint8() -> None:
    model = model_of(PAIRS)
    assert mended(model, "unsigned_activations").done == (("unsigned_activations", 4),)
    found = read(model)
    assert {each.parameters.element for each in found.tensors} == {"uint8"}
    assert {int(each.parameters.zero_point) for each in found.tensors} == {135, 125}  # type: ignore[arg-type]
    assert {model.view().tensors[name].dtype for name in ("i", "j", "k", "l")} == {"uint8"}


def test_a_pair_that_gives_back_integers_is_gone() -> None:
    model = model_of(PAIRS)
    done = mended(model, "redundant_pairs").done
    assert done == (("redundant_pairs", 1), ("dangling_nodes", 4))
    assert [node.name for node in model.nodes()] == ["q", "d", "relu", "add", "q2", "d3", "out"]


def twice_rounded(integer: str, floats: str, scale: float) -> Model:
    """A pair, a pair of equal parameters behind it, and the integers of the second as an output."""
    proto = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        net ({floats}[2001] x) => (float[2001] y) <float s = {{{scale}}}, {integer} z = {{100}}>
        {{
          [q] i = QuantizeLinear (x, s, z)
          [d] a = DequantizeLinear (i, s, z)
          [q2] j = QuantizeLinear (a, s, z)
          [cast] y = Cast <to = 1> (j)
        }}
    """)
    stored = proto.graph.initializer[0]
    held = numpy_helper.to_array(stored).astype(np.dtype(floats if floats != "float" else "float32"))
    stored.CopyFrom(numpy_helper.from_array(held, "s"))
    return from_proto(proto)


@pytest.mark.parametrize(
    ("integer", "floats", "scale", "gone"),
    [
        ("uint8", "float", 0.3, True),
        ("int16", "float", 0.3, True),
        ("uint8", "float16", 0.3, True),
        ("int16", "float16", 0.3, False),  # ten digits do not hold sixteen bits
        ("uint8", "float16", 600.0, False),  # 255 steps of it are infinite
        ("uint8", "float", 3e38, False),
        ("uint8", "float", 0.0, False),  # 0 / 0
    ],
)
def test_a_pair_stays_where_rounding_reaches_the_integers(integer: str, floats: str, scale: float, gone: bool) -> None:
    model = twice_rounded(integer, floats, scale)
    before = to_proto(model)
    assert ("redundant_pairs" in dict(mended(model, "redundant_pairs").done)) == gone
    kind = np.float16 if floats == "float16" else np.float32
    feeds: dict[str, Any] = {"x": np.linspace(-65000, 65000, 2001).astype(kind)}
    np.testing.assert_array_equal(as_written(before, feeds)[0], as_written(to_proto(model), feeds)[0])


def test_a_bias_that_becomes_half_floats_stays() -> None:
    text = LAYER.replace("float[2, 3] x", "float16[2, 3] x").replace("float[2, 4] y", "float16[2, 4] y")
    text = text.replace('"" : 21', '"" : 23').replace("DequantizeLinear", "DequantizeLinear <output_dtype = 10>")
    model = model_of(text.replace("<output_dtype = 10> <axis = 0>", "<axis = 0, output_dtype = 10>"))
    assert "float_bias" not in dict(mended(model, *FIXES).done)
    ort.InferenceSession(to_proto(model).SerializeToString())  # one type at every port


def test_what_nobody_reads_is_gone() -> None:
    model = model_of(PAIRS)
    assert mended(model, "dangling_nodes").done == (("dangling_nodes", 2),)
    assert "q4" not in {node.name for node in model.nodes()}


def test_biases_axes_and_zero_points_are_written() -> None:
    model = model_of(LAYER)
    mended(model, "float_bias", "written_axis", "written_zero_point")
    nodes = {node.name: node for node in model.nodes()}
    assert "db" not in nodes
    np.testing.assert_array_equal(
        model.values("c"), np.float32([10, -20, 30, -40]) * np.float32([0.005, 0.01, 0.015, 0.02])
    )
    assert nodes["dw"].attrs["axis"] == 1
    zero = model.values(nodes["dw"].inputs[2].name)
    assert zero.dtype == np.int8 and zero.shape == (4,) and not zero.any()
    assert not [each for each in read(model).tensors if each.role is Role.BIAS]


def test_what_a_waiver_allows_stays() -> None:
    model = model_of(PAIRS)
    mended(model, "unsigned_activations", waived="q")
    elements = {each.tensor: each.parameters.element for each in read(model).tensors}
    assert elements["x"] == "int8" and elements["b"] == "uint8"


@pytest.mark.parametrize(
    ("between", "reads"),
    [
        ("[t] k = Transpose <perm = [0, 2, 3, 1]> (i)", "k"),
        ("[t] k = Reshape <allowzero = 0> (i, shape)", "k"),
    ],
)
def test_integers_are_followed_through_moves(between: str, reads: str) -> None:
    text = f"""
<ir_version: 10, opset_import: ["" : 21]>
net (float[1, 4, 6, 6] x) => (float[d0, d1, d2, d3] y)
<float s = {{0.05}}, int8 z = {{7}}, int64[4] shape = {{1, 6, 6, 4}}>
{{
  [q] i = QuantizeLinear (x, s, z)
  {between}
  [d] y = DequantizeLinear ({reads}, s, z)
}}
"""
    before, after = model_of(text), model_of(text)
    assert mended(after, "unsigned_activations").done == (("unsigned_activations", 1),)
    require_equal(before, after)


@pytest.mark.parametrize(
    "reader",
    [
        "[n] k = MatMulInteger (i, w)\n  [c] e = Cast <to = 1> (k)",
        "[n] k = Clip (i, low, high)\n  [c] e = DequantizeLinear (k, s, z)",
        "[n] k = Concat <axis = 1> (i, i)\n  [c] e = DequantizeLinear (k, s, z)",
    ],
)
def test_integers_that_others_read_stay(reader: str) -> None:
    text = f"""
<ir_version: 10, opset_import: ["" : 21]>
net (float[2, 3] x) => (float[d0, d1] y, float[d2, d3] e)
<float s = {{0.05}}, int8 z = {{7}}, int8[3, 2] w = {{1, 2, 3, 4, 5, 6}}, int8 low = {{-8}}, int8 high = {{7}}>
{{
  [q] i = QuantizeLinear (x, s, z)
  [d] y = DequantizeLinear (i, s, z)
  {reader}
}}
"""
    before, after = model_of(text), model_of(text)
    result = mended(after, "unsigned_activations")
    assert ("unsigned_activations", 1) not in result.done
    assert to_proto(after) == to_proto(before)


# ---- the verb --------------------------------------------------------------------------------------------------------


def signed_residual(folder: Path) -> Path:
    """The residual net quantized by onnxruntime to int8 activations, as its defaults have it."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static  # noqa: TID251

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            draw = np.random.default_rng(1)
            self.left = [{"x": draw.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return self.left.pop() if self.left else None

    onnx.save(residual_net(), folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "signed.onnx", Reader())
    return folder / "signed.onnx"


def test_a_file_of_onnxruntime_gets_its_integer_kernels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = signed_residual(tmp_path), tmp_path / "fixed.onnx"
    found = qdsl.audit(model)
    assert "signed_fan_out" in {each.rule for each in found.report.findings}
    assert main(["audit", str(model), "--fix", str(out), "--fail-on", "never"]) == 0
    assert "unsigned_activations, written to" in capsys.readouterr().out
    feeds = {"x": np.random.default_rng(5).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    for one, other in zip(as_written(str(model), feeds), as_written(str(out), feeds), strict=True):
        np.testing.assert_array_equal(one, other)
    assert reality(out).integer_nodes > reality(model).integer_nodes
    again = qdsl.audit(out)
    assert "signed_fan_out" not in {each.rule for each in again.report.findings}


def test_the_report_is_of_what_was_written(tmp_path: Path) -> None:
    model, out = signed_residual(tmp_path), tmp_path / "fixed.onnx"
    result = qdsl.audit(model, fix=out)
    assert result.mended is not None and result.mended.changes
    assert result.report.file == str(out) and result.report == qdsl.audit(out).report
    assert model.read_bytes() == signed_residual(tmp_path).read_bytes(), "the given file stays"


@pytest.mark.parametrize("out", ["signed.onnx", "./signed.onnx", "."])
def test_the_given_file_is_never_written_over(tmp_path: Path, out: str) -> None:
    model = signed_residual(tmp_path)
    before = model.read_bytes()
    with pytest.raises(QdslError) as caught:
        qdsl.audit(model, fix=tmp_path / out)
    assert [each.code for each in caught.value.diagnostics] == ["fix-place"]
    assert model.read_bytes() == before


def test_weights_beside_the_given_file_are_never_written_over(tmp_path: Path) -> None:
    proto = onnx.load(signed_residual(tmp_path))
    model, data = tmp_path / "beside.onnx", tmp_path / "weights.data"
    onnx.save(proto, model, save_as_external_data=True, location=data.name, size_threshold=0)
    before = data.read_bytes()
    with pytest.raises(QdslError) as caught:
        qdsl.audit(model, fix=data)
    assert [each.code for each in caught.value.diagnostics] == ["fix-place"]
    assert data.read_bytes() == before
    assert qdsl.audit(model, fix=tmp_path / "new" / "folder" / "out.onnx").mended is not None
    ort.InferenceSession(tmp_path / "new" / "folder" / "out.onnx")


@pytest.mark.parametrize("form", ["--sarif", "--html"])
def test_no_report_takes_the_place_of_the_model(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = signed_residual(tmp_path)
    before = model.read_bytes()
    assert main(["audit", str(model), form, str(model)]) != 0
    assert "fix-place" in capsys.readouterr().err and model.read_bytes() == before


def test_nothing_to_mend_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(residual_net(), tmp_path / "float.onnx")
    assert main(["audit", str(tmp_path / "float.onnx"), "--fix", str(tmp_path / "out.onnx")]) == 0
    assert "mended     nothing" in capsys.readouterr().out
    same = onnx.load(tmp_path / "out.onnx")
    assert [node.op_type for node in same.graph.node] == [node.op_type for node in residual_net().graph.node]
    held = {each.name: each for each in same.graph.initializer}
    np.testing.assert_array_equal(
        numpy_helper.to_array(held["w1"]), numpy_helper.to_array(residual_net().graph.initializer[0])
    )


@pytest.mark.parametrize(
    ("name", "gained"),
    [
        ("audit_corpus/quark.onnx", {"QLinearConv", "QGemm"}),  # biases of int8, which are floats in the copy
        ("models/mlperf_vww_96_int8_qdq.onnx", {"QLinearAveragePool", "QGemm"}),  # int8 behind a Reshape
    ],
)
def test_what_is_mended_in_files_of_others_runs_in_integers(
    name: str, gained: set[str], testdata: Path, tmp_path: Path
) -> None:
    qdsl.audit(testdata / name, fix=tmp_path / "mended.onnx")
    before, after = (integer_kernels(file, tmp_path) for file in (testdata / name, tmp_path / "mended.onnx"))
    assert after - before == gained


def integer_kernels(file: Path, folder: Path) -> set[str]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node if node.op_type.startswith("Q")}
