"""`qdsl new`: what it writes checks, plans and compiles as written, and nothing that is there is overwritten."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import ROOT, residual_net
from onnx import TensorProto, helper
from PIL import Image

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.lang import load
from qdsl.lang.files import missing_files
from qdsl.starter import shapes
from qdsl.starter.examples import KEPT

MODELS = ROOT.parent / "shared" / "testdata" / "models"
QUANTIZED = "_qdq.onnx"


def picture_net(folder: Path, *, classes: int = 2, last: bool = False, free: bool = False) -> Path:
    """A classifier of pictures of 16 by 16."""
    side = '"H"' if free else "16"
    shape = f"N, {side}, {side}, 3" if last else f"N, 3, {side}, {side}"
    shape = shape.replace('"H"', "H")
    first = (
        "t = Transpose <perm = [0, 3, 1, 2]> (x)\n  c = Conv <kernel_shape = [3, 3]> (t, w)"
        if last
        else ("c = Conv <kernel_shape = [3, 3]> (x, w)")
    )
    text = f"""<ir_version: 8, opset_import: ["": 17]>
net (float[{shape}] x) => (float[N, {classes}] y) {{
  {first}
  r = Relu (c)
  p = GlobalAveragePool (r)
  f = Flatten (p)
  y = Gemm <transB = 1> (f, v)
}}"""
    proto = onnx.parser.parse_model(text)
    draw = np.random.default_rng(3)
    for name, size in (("w", (8, 3, 3, 3)), ("v", (classes, 8))):
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(draw.standard_normal(size).astype(np.float32), name)
        )
    path = folder / "my-net 2.onnx"
    onnx.save(proto, path)
    return path


def photos(folder: Path, *names: str, count: int = 4) -> None:
    draw = np.random.default_rng(5)
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = draw.integers(0, 256, (20, 18, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def made(model: Path, folder: Path, data: Path | None = None) -> tuple[str, qdsl.api.CompileResult]:  # type: ignore[name-defined]
    """The recipe that `new` writes, checked, planned and compiled."""
    result = qdsl.new(model, data=data, out=folder / "made.q")
    text = result.path.read_text()
    assert text == result.text == qdsl.fmt(text), "it is in the canonical form"
    assert not qdsl.check(result.path).diagnostics
    assert qdsl.plan(result.path).plans[0].nodes
    return text, qdsl.compile(result.path, out=folder / "build", lock=False)


def test_without_data_the_recipe_needs_none(tmp_path: Path) -> None:
    text, result = made(picture_net(tmp_path), tmp_path)
    assert 'model onnx "my-net 2.onnx"' in text and "recipe made\n" in text
    assert "resize  [16, 16]" in text and "A guess" in text
    assert "data calib" not in "".join(line for line in text.splitlines() if not line.startswith("#"))
    assert result.holds


def test_without_data_products_are_stored_in_the_type_that_is_fast(tmp_path: Path) -> None:
    w = np.random.default_rng(0).standard_normal((96, 96)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 7, 96])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 7, 96])],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    text, result = made(tmp_path / "m.onnx", tmp_path)
    assert "quantize dynamic" in text
    assert result.targets[0].plan.flags == ()


def test_for_a_gpu_it_names_no_threads_and_types_that_the_target_reads(tmp_path: Path) -> None:
    model = picture_net(tmp_path)
    text = qdsl.new(model, target="tensorrt", out=tmp_path / "first.q").text
    assert "target tensorrt\n" in text and "threads" not in text
    assert "#   activations 8 bit\n" in text and "uint8" not in text
    photos(tmp_path / "data", "good", "bad")
    text = qdsl.new(model, data=tmp_path / "data", target="tensorrt", out=tmp_path / "second.q").text
    assert "quantize static" in text and "Needs no data" not in text


def test_for_a_microcontroller_it_names_what_a_board_asks(tmp_path: Path) -> None:
    model = picture_net(tmp_path)
    assert "io int8" not in qdsl.new(model, target="stm32", out=tmp_path / "first.q").text
    photos(tmp_path / "data", "good", "bad")
    result = qdsl.new(model, data=tmp_path / "data", target="stm32", out=tmp_path / "second.q")
    assert result.text == qdsl.fmt(result.text) and "profile" not in result.text
    block = re.search(r"target stm32 \{\n(.*?)\n\}", result.text, re.DOTALL)
    assert block is not None
    taken = re.sub(r"^  # ", "  ", block[1], flags=re.MULTILINE)
    result.path.write_text(result.text.replace(block[1], taken), encoding="utf-8")
    assert not qdsl.check(result.path).diagnostics
    (target,) = load(result.path).recipe.targets
    assert (target.device, str(target.io and target.io.name)) == ("NUCLEO-F446RE", "int8")
    assert [require.metric.name for require in target.requires] == ["flash", "ram"]


@pytest.mark.parametrize("last", [False, True])
def test_class_folders_calibrate_and_evaluate(last: bool, tmp_path: Path) -> None:
    photos(tmp_path / "data", "train/a", "train/b", "val/a", "val/b")
    text, result = made(picture_net(tmp_path, last=last), tmp_path, tmp_path / "data")
    assert "{ split train }" in text, "there are fewer than would be drawn"
    assert "evaluate classification on val" in text and "quantize static" in text
    assert ("layout  nhwc" in text) is last
    (evaluation,) = result.evaluations
    assert evaluation.samples == 8


def test_one_set_of_folders_serves_both_and_says_so(tmp_path: Path) -> None:
    photos(tmp_path / "data", "a", "b")
    text, _ = made(picture_net(tmp_path), tmp_path, tmp_path / "data")
    assert "The same pictures calibrate and evaluate" in text


def test_labels_that_do_not_fit_the_model_are_left_out(tmp_path: Path) -> None:
    photos(tmp_path / "data", "train/a", "train/b", "train/c", "val/a", "val/b", "val/c")
    text, _ = made(picture_net(tmp_path, classes=2), tmp_path, tmp_path / "data")
    assert "evaluate fidelity on calib" in text and "do not fit" in text


def test_plain_pictures_calibrate_and_are_held_against_the_float_model(tmp_path: Path) -> None:
    photos(tmp_path / "data", "pictures")
    text, _ = made(picture_net(tmp_path), tmp_path, tmp_path / "data")
    assert 'from images "data/pictures"' in text and "evaluate fidelity on calib" in text


def test_sizes_that_the_model_leaves_free_are_fixed(tmp_path: Path) -> None:
    photos(tmp_path / "data", "pictures")
    text, _ = made(picture_net(tmp_path, free=True), tmp_path, tmp_path / "data")
    assert "shape   [1, 3, 224, 224]" in text and "resize  [224, 224]" in text


def test_npz_files_feed_the_inputs(tmp_path: Path) -> None:
    onnx.save(residual_net(), tmp_path / "net.onnx")
    draw = np.random.default_rng(0)
    arrays = draw.standard_normal((12, 3, 8, 8)).astype(np.float32)
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "calib.npz", pixels=arrays)
    np.savez(tmp_path / "data" / "val.npz", pixels=arrays, y=np.arange(12) % 5)
    text, result = made(tmp_path / "net.onnx", tmp_path, tmp_path / "data")
    assert 'array "pixels" "x"' in text and 'label "y"' in text and "resize" not in text
    assert result.evaluations[0].samples == 12


def test_the_example_is_trained_and_loses_little(tmp_path: Path) -> None:
    result = qdsl.new(example="shapes", out=tmp_path / "shapes")
    assert len(result.files) == 3 * 80 + 1 and all(path.is_file() for path in result.files)
    assert qdsl.fmt(result.text) == result.text
    compiled = qdsl.compile(result.path, out=tmp_path / "build")
    assert compiled.holds and not compiled.undecided
    floats = compiled.evaluations[0].builds[0].scores
    assert next(value for key, value in floats.items() if key.metric == "top1") > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cracks", "people", "steel"])
def test_an_example_of_the_repository_is_copied_with_its_recipes(name: str, tmp_path: Path) -> None:
    result = qdsl.new(example=name, out=tmp_path / "own")
    found = sorted((tmp_path / "own").glob("*.q"))
    assert result.path in found and len(found) == len(list((ROOT / "recipes").glob(KEPT[name].recipes))) > 1
    for recipe in found:
        assert "examples" not in recipe.read_text() and not qdsl.check(recipe).diagnostics
        assert not missing_files(load(recipe).recipe)
    assert {path.suffix for path in result.files} <= {".q", ".onnx", ".jpg", ".png", ".txt", ".yaml", ".md"}
    assert qdsl.plan(result.path).plans[0].nodes


def test_without_the_repository_it_is_told_where_an_example_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages" / "qdsl" / "starter" / "examples.py"
    monkeypatch.setattr("qdsl.starter.examples.__file__", str(installed))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QdslError) as caught:
        qdsl.new(example="people")
    (told,) = caught.value.diagnostics
    assert told.code == "new-example" and "source repository" in told.headline
    assert "recipes/yolov8n_static.q" in told.help[0] and "--example shapes" in told.help[1]
    assert not list(tmp_path.iterdir())
    monkeypatch.chdir(ROOT)
    assert qdsl.new(example="cracks", out=tmp_path / "own").path == tmp_path / "own/cracks_v1_static.q"


@pytest.mark.slow
def test_an_example_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shapes, "_fitted", full)
    with pytest.raises(QdslError, match="No space left"):
        qdsl.new(example="shapes", out=tmp_path / "shapes")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_of_an_example_goes(tmp_path: Path) -> None:
    (tmp_path / ".own.999999999-0a1b2c3d.tmp").mkdir()
    qdsl.new(example="cracks", out=tmp_path / "own")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["people/yolov8n.onnx", "steel/steel.onnx", "cracks/mobilenet_v1_025.onnx"])
def test_the_examples_of_the_repository(model: str, tmp_path: Path) -> None:
    path = ROOT / "examples" / model
    result = qdsl.new(path, data=path.parent, out=tmp_path / "made.q")
    (plan,) = qdsl.plan(result.path).plans
    assert plan.mode == "static"
    head = "keep head in float32" in result.text
    task = "classification" if path.parent.name == "cracks" else "detection"
    assert head is (task == "detection") and f"evaluate {task} on val" in result.text


@pytest.mark.slow
@pytest.mark.skipif(not MODELS.is_dir(), reason="no folder of public models")
@pytest.mark.parametrize("model", sorted(MODELS.glob("*.onnx")), ids=lambda path: path.stem)
def test_public_models_get_a_recipe_that_plans(model: Path, tmp_path: Path) -> None:
    result = qdsl.new(model, out=tmp_path / "made.q")
    assert ("quantize none" in result.text) is model.name.endswith(QUANTIZED)
    assert not qdsl.check(result.path).diagnostics
    assert qdsl.plan(result.path).plans[0].nodes


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    model = picture_net(tmp_path)
    (tmp_path / "made.q").write_text("mine")
    (tmp_path / "shapes").mkdir()
    for wish in ({"model": model, "out": tmp_path / "made.q"}, {"example": "shapes", "out": tmp_path / "shapes"}):
        with pytest.raises(QdslError, match="new-exists"):
            qdsl.new(**wish)
    assert (tmp_path / "made.q").read_text() == "mine" and not list((tmp_path / "shapes").iterdir())


def test_what_cannot_be_done_is_told_without_a_place(tmp_path: Path) -> None:
    model = picture_net(tmp_path)
    (tmp_path / "empty").mkdir()
    for code, wish in {
        "new-data": {"model": model, "data": tmp_path / "empty"},
        "new-example": {"example": "shape", "out": tmp_path / "x"},
        "model-missing": {"model": tmp_path / "no.onnx"},
        "unknown-target": {"model": model, "target": "trt"},
    }.items():
        with pytest.raises(QdslError) as caught:
            qdsl.new(**{"out": tmp_path / "made.q", **wish})
        (told,) = caught.value.diagnostics
        assert told.code == code and told.span is None and told.help
    assert not (tmp_path / "made.q").exists()


def test_the_command_writes_beside_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = picture_net(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["new", str(model)]) == 0
    assert "my_net_2.q written" in capsys.readouterr().out
    assert main(["check", "my_net_2.q"]) == 0
    capsys.readouterr()
    assert main(["new", str(model), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["diagnostics"][0]["code"] == "new-exists"
    assert main(["new"]) == 2 and main(["new", "--example", "shapes", "x", "--data", "y"]) == 2
