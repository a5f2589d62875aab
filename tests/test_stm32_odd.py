"""`target stm32` on models and recipes that are odd, crossed or far too large, and where a compiler does not work."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import project
from onnx import helper, numpy_helper
from test_stm32_target import STM32

import qdsl
from qdsl.diag import QdslError
from qdsl.integer import records
from qdsl.integer.lower_values import Bounds
from qdsl.lang import load
from qdsl.targets.stm32.asked import Asked, problems_of
from qdsl.targets.stm32.boards import BOARDS
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.emulated.installed import Tool, Tools
from qdsl.targets.stm32.making import integer_graph, make_c

RECIPE = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static {{
  weights {weights} symmetric per_channel
  activations {activations} symmetric per_tensor
  calibrate minmax on calib
}}
target stm32 {{ {inside} }}
"""


@pytest.fixture(autouse=True)
def _no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked here shows without a core; one network takes seconds on it."""
    monkeypatch.setenv("PATH", "")


def written(folder: Path, model: onnx.ModelProto, inside: str = "", weights: str = "int8") -> Path:
    onnx.save(model, folder / "demo.onnx")
    draw = np.random.default_rng(0)
    given = model.graph.input[0].type.tensor_type.shape.dim
    values = draw.standard_normal((4, *(each.dim_value for each in given[1:]))).astype(np.float32)
    np.savez(folder / "calib.npz", **{model.graph.input[0].name: values})
    path = folder / "demo.q"
    path.write_text(RECIPE.format(weights=weights, activations="int8", inside=inside), encoding="utf-8")
    return path


def model_of(*nodes: onnx.NodeProto, shape: tuple[int, ...] = (1, 2, 4, 4), **constants: object) -> onnx.ModelProto:
    """Nodes in a row from `x` to the last one's first output."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


CONV = helper.make_node("Conv", ["x", "w"], ["c"], name="conv")


def refused(path: Path, out: Path) -> qdsl.diag.Diagnostic:
    with pytest.raises(QdslError) as caught:
        qdsl.compile(path, out=out, lock=False)
    return caught.value.diagnostics[0]


def test_names_may_be_as_long_as_onnx_lets_them(tmp_path: Path) -> None:
    long = helper.make_node("Conv", ["x", "w"], ["t" * 5000], name="n" * 5000)
    path = written(tmp_path, model_of(long, w=weights(3, 2, 1, 1)))
    assert qdsl.compile(path, out=tmp_path / "build", lock=False).as_verified


def test_a_clip_whose_ends_are_crossed_gives_the_upper_one(tmp_path: Path) -> None:
    clip = helper.make_node("Clip", ["c", "low", "high"], ["y"], name="clip")
    crossed = {"low": np.float32(3), "high": np.float32(-3)}
    path = written(tmp_path, model_of(CONV, clip, w=weights(3, 2, 1, 1), **crossed))
    (found,) = qdsl.compile(path, out=tmp_path / "build", lock=False).targets
    graph = integer_graph(onnx.load(found.emitted.model), "demo", Asked())
    assert isinstance(graph.ops[-2], records.Conv)
    from qdsl.targets.stm32.golden import Golden

    answer = Golden(graph).run({"x": weights(1, 2, 4, 4)})["y"]
    assert np.allclose(answer, -3.0, atol=0.02)
    assert Bounds().clipped(3.0, -3.0) == Bounds(-3.0, -3.0)


def test_padding_between_pairs_of_one_scale_is_of_integers(tmp_path: Path) -> None:
    """No integer stands for 0.3 exactly, but what is read of it is one."""
    pad = helper.make_node("Pad", ["c", "widths", "value"], ["p"], name="pad")
    after = helper.make_node("Conv", ["p", "v"], ["y"], name="after")
    constants = {"widths": np.array([0, 0, 1, 0, 0, 0, 0, 1]), "value": np.float32(0.3)}
    model = model_of(CONV, pad, after, w=weights(3, 2, 1, 1), v=weights(2, 3, 1, 1), **constants)
    result = qdsl.compile(written(tmp_path, model), out=tmp_path / "build", lock=False)
    assert result.as_verified
    graph = integer_graph(onnx.load(result.targets[0].emitted.model), "demo", Asked())
    (op,) = (op for op in graph.ops if isinstance(op, records.Pad))
    assert graph.tensors[op.inputs[0]].dtype == "int8"


def test_an_arena_beyond_all_memory_is_refused(tmp_path: Path) -> None:
    where = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    resize = helper.make_node("Resize", ["c", "", "scales"], ["r"], name="resize", **where)
    pool = helper.make_node("GlobalAveragePool", ["r"], ["y"], name="pool")
    scales = np.array([1, 1, 1 << 14, 1 << 14], np.float32)
    model = model_of(CONV, resize, pool, w=weights(1, 2, 1, 1), scales=scales)
    with pytest.raises(QdslError) as caught:
        make_c(integer_graph(model, "demo", Asked()), Asked(), tmp_path / "c")
    (found,) = caught.value.diagnostics
    assert found.code == "stm32-no-form" and "17,179,869,2" in found.headline and not (tmp_path / "c").exists()


def test_types_that_no_kernel_reads_are_told_as_that(tmp_path: Path) -> None:
    found = refused(written(tmp_path, model_of(CONV, w=weights(3, 2, 1, 1)), weights="int4"), tmp_path / "build")
    assert found.code == "target-cannot" and "int4" in found.headline


def test_an_input_that_cannot_be_integers_is_told_with_what_makes_it_so(tmp_path: Path) -> None:
    pool = helper.make_node("MaxPool", ["x"], ["p"], name="pool", kernel_shape=[2, 2])
    conv = helper.make_node("Conv", ["p", "w"], ["y"], name="conv")
    model = model_of(pool, conv, w=weights(3, 2, 1, 1))
    found = refused(written(tmp_path, model, "io int8"), tmp_path / "build")
    assert found.code == "stm32-no-form" and any("`place { quantize tensor" in each for each in found.help)
    path = written(tmp_path, model, 'io int8; place { quantize tensor "x" }')
    assert qdsl.compile(path, out=tmp_path / "build", lock=False).as_verified


def test_boards_are_told_by_their_names(tmp_path: Path) -> None:
    path = project(tmp_path, head=STM32.replace("@", 'device "??"'))
    (found,) = problems_of(load(path).recipe.targets[0])
    assert all(f"`{board.name}`" in found.help[0] for board in BOARDS.values())


def test_a_compiler_that_fails_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*words: object, **more: object) -> str:
        raise subprocess.CalledProcessError(1, "cc", stderr="cc: cannot execute 'as'\n")

    monkeypatch.setattr(host, "compiler", lambda: "/usr/bin/cc")
    monkeypatch.setattr(host, "build", fails)
    found = refused(written(tmp_path, model_of(CONV, w=weights(3, 2, 1, 1))), tmp_path / "build")
    assert found.code == "artifact-invalid" and found.headline == "cc does not compile the C"
    assert found.label == "cc: cannot execute 'as'" and "qdsl doctor" in found.help[0]


def test_kilobytes_may_be_spelled_as_si_does(tmp_path: Path) -> None:
    path = project(tmp_path, "evaluate fidelity on calib { require size <= 240 kB }\n")
    (require,) = load(path).recipe.evaluates[0].requires
    assert require.bound is not None and require.bound.base == 240_000


def test_a_page_tells_what_answered_when_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, model_of(CONV, w=weights(3, 2, 1, 1)))
    path.write_text(path.read_text(encoding="utf-8") + "evaluate fidelity on calib\n", encoding="utf-8")
    qdsl.compile(path, out=tmp_path / "build", lock=False)
    here = Tools(Tool(Path("cc"), "1"), Tool(Path("qemu"), "1"))  # by then
    monkeypatch.setattr("qdsl.targets.stm32.emulated.installed.tools", cache(lambda: here))
    page = tmp_path / "build" / "demo" / "report.html"
    page.unlink()
    qdsl.report(tmp_path / "build" / "demo")
    assert "Answered for stm32: its integer graph on this machine." in page.read_text(encoding="utf-8")


def test_verify_says_that_c_is_verified_where_it_is_compiled(tmp_path: Path) -> None:
    path = written(tmp_path, model_of(CONV, w=weights(3, 2, 1, 1)))
    qdsl.compile(path, out=tmp_path / "build", lock=False)
    with pytest.raises(QdslError) as caught:
        qdsl.verify(tmp_path / "build" / "demo")
    (found,) = caught.value.diagnostics
    assert found.code == "verify-nothing" and "when it is compiled" in found.notes[0]
    assert not any("--no-measure" in each for each in found.help)
