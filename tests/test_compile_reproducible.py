"""Two compiles give the same bytes, whatever the process looks like; an interrupted one leaves nothing half done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, ROOT, artifacts, cli, environment, project, session, tree
from PIL import Image
from seeds import few_of

import qdsl
from qdsl.targets.ort.reality import read as read_reality

DETECTOR = """recipe detector
model onnx "tiny.onnx"
input "images" {
  resize  320 letterbox
  rescale 1/255
}
data calib from images "images/*.png" { take 10 seed 3 }
quantize static {
  weights     int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}
keep decode_head in float32
target ort
"""

# How the second compile differs: environment, words on the command line.
VARIANTS: dict[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    "hash seed 3, 4 workers, batch 3": ({"PYTHONHASHSEED": "3"}, ("--workers", "4", "--batch", "3")),
    "hash seed 1": ({"PYTHONHASHSEED": "1"}, ()),
    "hash seed 2, batch 4": ({"PYTHONHASHSEED": "2"}, ("--batch", "4")),
    "2 workers": ({}, ("--workers", "2")),
    "4 workers, batch 1": ({}, ("--workers", "4", "--batch", "1")),
    "2 threads": ({"OMP_NUM_THREADS": "2"}, ("--workers", "1", "--batch", "3")),
}


def detector(folder: Path) -> Path:
    """The small YOLOv8 with a dozen generated pictures of different sizes."""
    (folder / "images").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "data" / "yolov8_tiny_torchscript.onnx", folder / "tiny.onnx")
    draw = np.random.default_rng(5)
    for index in range(12):
        coarse = draw.integers(0, 256, (6 + index, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((300, 200 + 10 * index), Image.Resampling.BICUBIC)
        picture.save(folder / "images" / f"{index:02}.png")
    (folder / "detector.q").write_text(DETECTOR, encoding="utf-8")
    return folder / "detector.q"


def made(recipe: Path, out: Path, env: Mapping[str, str], words: tuple[str, ...]) -> dict[str, bytes]:
    done = cli("compile", recipe, "--out", out, "--no-lock", *words, env=env)
    assert done.returncode == 0, done.stderr
    return tree(out)


def same(first: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """The names of files that differ."""
    return sorted(name for name in first.keys() | other.keys() if first.get(name) != other.get(name))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A small recipe, and what one compilation of it made."""
    folder = tmp_path_factory.mktemp("small")
    recipe = project(folder / "a")
    return recipe, made(recipe, folder / "first", {"PYTHONHASHSEED": "0"}, ())


@pytest.mark.parametrize("variant", few_of(VARIANTS, 1))
def test_small_compiles_are_the_same_bytes(variant: str, small: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    recipe, first = small
    assert same(first, made(recipe, tmp_path / "second", *VARIANTS[variant])) == []
    assert {"demo/ort/model.onnx", "demo/ort/bench/bundle.json", "demo/plan.json", "demo/report.html"} <= set(first)


@pytest.mark.slow
def test_another_directory_gives_the_same_bytes(small: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    _, first = small
    moved = project(tmp_path / "elsewhere" / "deeper")
    assert same(first, made(moved, tmp_path / "elsewhere" / "out", {}, ())) == []


@pytest.mark.slow
def test_a_detector_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    recipe = detector(tmp_path / "a")
    first = made(recipe, tmp_path / "first", {"PYTHONHASHSEED": "0"}, ())
    different = {name: same(first, made(recipe, tmp_path / name, *how)) for name, how in VARIANTS.items()}
    assert {name: files for name, files in different.items() if files} == {}
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert same(first, made(tmp_path / "b" / "detector.q", tmp_path / "moved", {}, ())) == []


@pytest.mark.slow
def test_c_for_a_microcontroller_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Of what is measured on an emulated core, too; with the lock, of the artifact."""
    target = 'target stm32 { device "STM32H7B3I-DK"; optimize ram; io int8 }'
    head = HEAD.replace("uint8", "int8").replace("target ort", target)
    recipe = project(tmp_path / "a", head=head)
    first = made(recipe, tmp_path / "first", {"PYTHONHASHSEED": "0"}, ())
    moved = project(tmp_path / "elsewhere", head=head)
    again = made(moved, tmp_path / "again", {"PYTHONHASHSEED": "3"}, ("--workers", "2", "--batch", "3"))
    assert same(first, again) == []
    assert {"demo/stm32/c/network.c", "demo/stm32/c/weights.h", "demo/stm32/stedgeai/model.onnx"} <= set(first)
    qdsl.compile(recipe, out=tmp_path / "locking")
    locked = cli("compile", recipe, "--out", tmp_path / "locked", "--locked", env={"PYTHONHASHSEED": "5"})
    assert locked.returncode == 0, locked.stderr
    assert same(artifacts(tmp_path / "locking"), artifacts(tmp_path / "locked")) == []


# --- interrupted ----------------------------------------------------------------------------------------------------


def interrupted(recipe: Path, out: Path, number: int, after: float) -> int:
    """Exit code of a compile that gets a signal some time after it has said that calibration can start."""
    words = [sys.executable, "-m", "qdsl", "compile", str(recipe), "--out", str(out), "--workers", "1", "--no-lock"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("model ")
        time.sleep(after)
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=60)
        assert "Traceback" not in said
    return process.returncode


def long_detector(folder: Path) -> Path:
    """A detector whose calibration lasts for seconds."""
    recipe = detector(folder)
    for index in range(400):
        shutil.copy(folder / "images" / "00.png", folder / "images" / f"more_{index}.png")
    recipe.write_text(DETECTOR.replace(" { take 10 seed 3 }", ""), encoding="utf-8")
    return recipe


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.1, 1.0])
def test_ctrl_c_while_calibrating_leaves_at_most_what_to_go_on_from(after: float, tmp_path: Path) -> None:
    recipe = long_detector(tmp_path / "a")
    assert interrupted(recipe, tmp_path / "out", signal.SIGINT, after) == 130
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert left in ([], [".calibration-calib.json"])
    assert sorted(p.name for p in recipe.parent.iterdir()) == ["detector.q", "images", "tiny.onnx"]


@pytest.mark.slow
def test_an_earlier_build_survives_being_killed(tmp_path: Path) -> None:
    recipe = detector(tmp_path / "a")
    first = made(recipe, tmp_path / "out", {}, ())
    shutil.copytree(tmp_path / "a" / "images", tmp_path / "a" / "more")
    recipe.write_text(DETECTOR.replace("take 10 seed 3", "take 11"), encoding="utf-8")
    assert interrupted(recipe, tmp_path / "out", signal.SIGKILL, 0.2) == -signal.SIGKILL
    assert same(first, tree(tmp_path / "out")) == []


# --- the whole detector ---------------------------------------------------------------------------------------------


_JOINS = ("Concat", "Reshape")


@pytest.mark.slow
def test_yolov8n_runs_in_integers(tmp_path: Path) -> None:
    result = qdsl.compile(ROOT / "recipes" / "yolov8n_static.q", out=tmp_path, workers=2, lock=False)
    (target,) = result.targets
    session(target.emitted.model, tmp_path / "optimized.onnx")
    runs = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert runs.count("QLinearConv") == 63
    assert runs.count("Conv") + runs.count("FusedConv") <= 1  # the decoding's own, which the runtime may turn to MatMul
    convolutions = {node.node: node.prediction.runs for node in target.plan.nodes if node.op == "Conv"}
    assert len(convolutions) == 64
    assert [name for name, how in convolutions.items() if how != "integer"] == ["/model.22/dfl/conv/Conv"]
    assert (runs.count("QLinearSigmoid"), runs.count("QLinearMul")) == (57, 57)
    real = read_reality(target.emitted.model).nodes
    said = {node.node: node.prediction.runs for node in target.plan.nodes}
    # The decoding goes channels last: what joins and parts it again is gone.
    gone = {name for name, ran in real.items() if ran.runs == "absorbed" and not ran.kernel and said[name] == "float"}
    assert gone == {
        f"/model.22/{name}" for name in ("Split", *(f"{op}{at}" for op in _JOINS for at in ("", "_1", "_2")))
    }
    other = {name: (runs, real[name].runs) for name, runs in said.items() if real[name].runs != runs}
    assert {name: pair for name, pair in other.items() if pair[0] != "moves" and name not in gone} == {}
    assert target.verification.mismatches == ()
    assert target.emitted.size <= 3.6 * 2**20
    assert abs(target.emitted.size - target.plan.totals.predicted_bytes) <= 0.05 * target.emitted.size
    assert all(output.sqnr_db is not None and output.sqnr_db > 20 for output in target.verification.outputs)
    assert result.holds
