"""What ST Edge AI Core documents that it does not import, and the file that is written for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from audit_tools import found as audit_findings
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from qdsl.diag import Severity
from qdsl.graph import from_proto
from qdsl.stedgeai.limits import Limit, limits
from qdsl.stedgeai.operators import imported
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.boards import board_named
from qdsl.targets.stm32.st.opset import OpsetError, restated, write_axes
from qdsl.targets.stm32.st.options import script, series_of
from qdsl.targets.stm32.st.package import add_samples, publish, write_package

CLEAN = """
g (float[1, 3, 8, 8] x) => (float[1, 4] y)
<float s = {0.1}, int8 z = {3}, float os = {0.02}, int8 oz = {-5}>
{
  q = QuantizeLinear (x, s, z)
  d = DequantizeLinear (q, s, z)
  c = Conv <kernel_shape = [3, 3]> (d, w)
  p = GlobalAveragePool (c)
  f = Flatten <axis = 1> (p)
  k = QuantizeLinear (f, os, oz)
  y = DequantizeLinear (k, os, oz)
}
"""


def model(body: str = CLEAN, opset: int = 17, ir: int = 8) -> ModelProto:
    made = parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n{body}')
    if "w)" in body:
        weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
        made.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    return made


def found(made: ModelProto) -> list[Limit]:
    return list(limits(from_proto(made).view()))


def graph(inside: str, shape: str = "1, 4", out: str = "float[1, 4] y", constants: str = "") -> str:
    return f"g (float[{shape}] x) => ({out})\n<{constants}>\n{{ {inside} }}" if constants else (
        f"g (float[{shape}] x) => ({out}) {{ {inside} }}"
    )  # fmt: skip


DYNAMIC = graph(
    "q, s, z = DynamicQuantizeLinear (x)\n i = MatMulInteger (q, v, z)\n f = Cast <to = 1> (i)\n y = Mul (f, s)",
    constants="int8[4, 4] v = {1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1}",
)
BLOCKED = "g (float[1, 4] x) => (float[1, 4] y)\n<float[1, 2] s = {0.1, 0.2}, int8[1, 2] z = {0, 0}>\n"
BLOCKED += "{ q = QuantizeLinear <axis = 1, block_size = 2> (x, s, z)\n"
BLOCKED += "y = DequantizeLinear <axis = 1, block_size = 2> (q, s, z) }"
SIXTEEN = "g (float[1, 4] x) => (float[1, 4] y)\n<float s = {0.1}, int16 z = {0}>\n"
SIXTEEN += "{ q = QuantizeLinear (x, s, z)\n y = DequantizeLinear (q, s, z) }"
BIAS = "g (float[1, 4] x) => (float[1, 4] y)\n<float s = {0.1}, int8 z = {0}, int8[4] b = {1, 2, 3, 4},"
BIAS += " float[4, 4] v = {1,0,0,0,0,1,0,0,0,0,1,0,0,0,0,1}>\n"
BIAS += "{ d = DequantizeLinear (b, s, z)\n y = Gemm (x, v, d) }"

GRAVE = {
    "opset 21": ("st_opset", graph("y = Relu (x)"), 21),
    "dynamic": ("st_operator", DYNAMIC, 17),
    "no such operator": ("st_operator", graph("y = Celu (x)"), 17),
    "open size": ("st_shape", graph("y = Relu (x)", "1, N", "float[1, N] y"), 17),
    "seven dimensions": ("st_shape", graph("y = Relu (x)", "1, 1, 1, 1, 1, 1, 2", "float[1, 1, 1, 1, 1, 1, 2] y"), 17),
    "long side": ("st_shape", graph("y = Relu (x)", "1, 65536", "float[1, 65536] y"), 17),
    "half": ("st_type", graph("h = Cast <to = 10> (x)\n y = Cast <to = 1> (h)"), 17),
    "16 bit": ("st_type", SIXTEEN, 21),
    "bias in int8": ("st_type", BIAS, 17),
    "blocks": ("st_attribute", BLOCKED, 21),
    "last axis": ("st_attribute", graph("y = Softmax (x)", "1, 4, 6", "float[1, 4, 6] y"), 17),
    "two outputs": ("st_attribute", graph("y = Flatten <axis = 0> (x)"), 17),
    "dilated pool": (
        "st_attribute",
        graph("y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (x)", "1, 1, 4, 4", "float[1, 1, 2, 2] y"),
        17,
    ),
    "cubic": (
        "st_attribute",
        graph('y = Resize <mode = "cubic"> (x, , r)', "1, 1, 2, 2", "float[1, 1, 4, 4] y", "float[4] r = {1, 1, 2, 2}"),
        17,
    ),
    "batch moved": ("st_attribute", graph("y = Transpose <perm = [1, 0]> (x)", out="float[4, 1] y"), 17),
}


@pytest.mark.parametrize("case", GRAVE)
def test_what_the_tool_does_not_take_is_found(case: str) -> None:
    rule, body, opset = GRAVE[case]
    grave = [each for each in found(model(body, opset, 10)) if each.grave]
    assert rule in {each.rule for each in grave}, grave


def test_a_file_within_the_limits_has_none() -> None:
    for opset in (13, 17, 20):
        assert found(model(opset=opset)) == []


def test_an_opset_before_the_first_is_refused() -> None:
    view = from_proto(model()).view()
    assert [each.rule for each in limits(replace(view, opset=6))] == ["st_opset"]


def test_what_it_takes_otherwise_is_told_without_refusing() -> None:
    along = found(model(graph("y = Softmax (x)")))
    batch = found(model(graph("y = Relu (x)", "8, 4", "float[8, 4] y")))
    later = found(model(graph("y = LayerNormalization (x, k)", constants="float[4] k = {1, 1, 1, 1}")))
    open_batch = found(model(graph("y = Relu (x)", "N, 4", "float[N, 4] y")))
    assert [(each.rule, each.grave) for each in (*along, *batch, *later)] == [
        ("st_attribute", False),
        ("st_shape", False),
        ("st_operator", False),
    ]
    assert open_batch == []  # ST takes it as 1


def test_operators_of_the_same_kind_are_one_finding() -> None:
    (one,) = found(model(graph("a = Celu (x)\n b = Celu (a)\n y = Celu (b)")))
    assert len(one.names) == 3 and one.message.startswith("3 nodes Celu")


def test_which_operators_are_imported() -> None:
    assert imported("", "QLinearConv") and imported("com.microsoft", "QLinearAdd") and imported("ai.onnx.ml", "Scaler")
    for domain, op in (
        ("", "ConvInteger"),
        ("com.microsoft", "QGemm"),
        ("", "QLinearAdd"),
        ("ai.onnx.ml", "LabelEncoder"),
    ):
        assert not imported(domain, op)


def test_the_audit_tells_them_as_rules() -> None:
    told = [each for each in audit_findings(model(DYNAMIC), "stm32") if each.rule.startswith("st_")]
    assert [(each.rule, each.severity) for each in told] == [("st_operator", Severity.WARNING)] * 2
    assert {each.place.kind for each in told} == {"node"}
    assert not [each for each in audit_findings(model(DYNAMIC), "ort") if each.rule.startswith("st_")]


# ---- opset 17 --------------------------------------------------------------------------------------------------------


def answers(made: ModelProto, feed: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": feed}))


REDUCED = graph(
    "r = ReduceMean <keepdims = 1> (x, a)\n y = Softmax <axis = -1> (r)",
    "1, 4, 6",
    "float[1, 4, 1] y",
    "int64[1] a = {2}",
)


@pytest.mark.parametrize(("body", "opset"), [(CLEAN, 13), (CLEAN, 19), (CLEAN, 20), (REDUCED, 18), (REDUCED, 20)])
def test_a_graph_at_opset_17_answers_the_same(body: str, opset: int) -> None:
    before = model(body, opset, 9)
    after = restated(before)
    write_axes(after)
    onnx.checker.check_model(after, full_check=True)
    assert [entry.version for entry in after.opset_import if not entry.domain] == [17]
    assert [entry.version for entry in before.opset_import if not entry.domain] == [opset]  # as it was
    shape = [dim.dim_value for dim in before.graph.input[0].type.tensor_type.shape.dim]
    feed = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for one, other in zip(answers(before, feed), answers(after, feed), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("inside", "opset", "why"),
    [
        ("y = Gelu (x)", 20, "opset 17 has no Gelu"),
        ("y = Relu (x)", 11, "too far from 17"),
        ("a, b = Split <num_outputs = 2, axis = 1> (x)\n y = Concat <axis = 1> (a, b)", 18, "Split"),
        ("c = Cast <to = 1, saturate = 0> (x)\n y = Relu (c)", 19, "`saturate`"),
        ("a = Size (x)\n f = Cast <to = 1> (a)\n r = ReduceMax (x, i)\n y = Mul (f, r)", 20, "computed"),
    ],
)
def test_what_opset_17_does_not_say_is_told(inside: str, opset: int, why: str) -> None:
    made = model(graph(inside), opset, 9)
    if "ReduceMax" in inside:
        made.graph.input.append(helper.make_tensor_value_info("i", TensorProto.INT64, [1]))
    with pytest.raises(OpsetError, match=why):
        restated(made)


def test_an_axis_is_written_as_the_tool_reads_it() -> None:
    made = model(graph("y = Softmax (x)"))
    write_axes(made)
    (axis,) = [each.i for each in made.graph.node[0].attribute]
    assert axis == 1 and found(made) == []


# ---- the package -----------------------------------------------------------------------------------------------------


def test_the_package_holds_a_file_within_the_limits(tmp_path: Path) -> None:
    package = write_package(tmp_path / "stedgeai", model(opset=19, ir=9), Asked())
    assert (package.opset, package.restated, package.refused) == (17, "", ())
    assert {path.name for path in (tmp_path / "stedgeai").iterdir()} == {"model.onnx", "run.sh", "README.md"}
    written = onnx.load(tmp_path / "stedgeai" / "model.onnx")
    assert found(written) == [] and written.ir_version == 8


def test_without_opset_17_the_file_keeps_its_own(tmp_path: Path) -> None:
    package = write_package(tmp_path / "stedgeai", model(graph("y = Gelu (x)"), 20, 9), Asked())
    assert package.opset == 20 and "Gelu" in package.restated and package.refused == ()
    assert "at opset 20 (opset 17 has no Gelu)" in (tmp_path / "stedgeai" / "README.md").read_text(encoding="utf-8")


def test_of_a_dynamic_model_there_is_no_file_and_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "stedgeai"
    write_package(folder, model(), Asked())
    package = write_package(folder, model(DYNAMIC), Asked())
    assert [each.rule for each in package.refused] == ["st_operator", "st_operator"]
    assert [path.name for path in folder.iterdir()] == ["README.md"]  # nothing of the earlier one either
    assert "DynamicQuantizeLinear" in (folder / "README.md").read_text(encoding="utf-8")


def test_samples_stand_beside_the_file(tmp_path: Path) -> None:
    write_package(tmp_path, model(), Asked())
    samples = [{"x": np.full((1, 3, 8, 8), value, np.float32)} for value in (1, 2)]
    add_samples(tmp_path, Asked(), samples, [{"y": np.zeros((1, 4), np.float32)}] * 2)
    assert np.load(tmp_path / "inputs_1.npy").shape == (2, 3, 8, 8)
    assert np.load(tmp_path / "outputs_1.npy").shape == (2, 4)
    assert "--valinput inputs_1.npy --valoutput outputs_1.npy" in (tmp_path / "run.sh").read_text(encoding="utf-8")


def test_what_the_tool_wrote_stays_with_the_same_model_alone(tmp_path: Path) -> None:
    folder = tmp_path / "stedgeai"
    for opset, kept in ((17, True), (19, True), (17, False)):
        if folder.is_dir():
            (folder / "out").mkdir(exist_ok=True)
        body = CLEAN if kept else CLEAN.replace("0.02", "0.03")
        write_package(tmp_path / "aside", model(body, opset, 9), Asked())
        publish(tmp_path / "aside", folder)
        assert (folder / "out").is_dir() == (kept and opset == 19)


# ---- run.sh ----------------------------------------------------------------------------------------------------------

BANNERS = {
    "8.1": "stm32ai - Neural Network Tools for STM32 family v1.7.0 (stm.ai v8.1.0-19520)",
    "10.0": "ST Edge AI Core v10.0.0-20406",
    "2.1": "ST Edge AI Core v2.1.0-20182 7a8e6ca9",
    "4.0": "ST Edge AI Core v4.0.0-20500 359356bb0",
}


def called(
    folder: Path, banner: str, *words: str, wanted: Asked | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """What run.sh gives a tool that tells its version like that."""
    tool = folder / "tool"
    tool.write_text(f'#!/bin/sh\ncase "$1" in --version) echo "{banner}" ;; *) echo "$@" ;; esac\n', encoding="utf-8")
    tool.chmod(0o755)
    path = folder / "run.sh"
    path.write_text(script(wanted or Asked(), ("inputs_1.npy",), ("outputs_1.npy",)), encoding="utf-8")
    told = {**os.environ, "STEDGEAI": str(tool), **env}
    return subprocess.run(
        [str(shutil.which("sh")), str(path), *words], capture_output=True, text=True, check=False, env=told
    )


def test_each_version_is_called_as_it_takes_it(tmp_path: Path) -> None:
    told = {version: called(tmp_path, banner, "validate").stdout.split() for version, banner in BANNERS.items()}
    for version, words in told.items():
        assert words[0] == "validate" and words[words.index("--model") + 1] == "model.onnx"
        assert ("--allocate-inputs" in words) == (version != "4.0")
        assert ("--series" in words, "--target" in words) == (version == "8.1", version != "8.1")
        assert words[words.index("--mode") + 1] == ("x86" if version == "8.1" else "host")
        assert words[words.index("--valinput") + 1] == "inputs_1.npy"


def test_wishes_become_options(tmp_path: Path) -> None:
    wanted = Asked(board_named("NUCLEO-L4R5ZI"), "ram", integers=True)
    words = called(tmp_path, BANNERS["4.0"], "target", "serial:COM4:115200", wanted=wanted).stdout.split()
    assert words[words.index("--target") + 1] == "stm32l4p" and words[words.index("--optimization") + 1] == "ram"
    assert words[words.index("--desc") + 1] == "serial:COM4:115200" and words[words.index("--mode") + 1] == "target"
    assert words[words.index("--input-data-type") + 1] == "int8"
    assert series_of("STM32H7B3LI") == "stm32h7" and series_of("STM32L475VG") == "stm32l4"


def test_a_version_that_is_not_told_has_to_be_named(tmp_path: Path) -> None:
    refused = called(tmp_path, "hello")
    assert refused.returncode == 2 and "STEDGEAI_VERSION" in refused.stderr
    assert called(tmp_path, "hello", STEDGEAI_VERSION="2.2").stdout.startswith("analyze")
    assert called(tmp_path, BANNERS["4.0"], "deploy").returncode == 2
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dirname").symlink_to(str(shutil.which("dirname")))
    absent = called(tmp_path, "", STEDGEAI="", PATH=str(tmp_path / "bin"))
    assert absent.returncode == 127 and "stedgeai" in absent.stderr
