"""The same artifact and lock, to the byte, however the calibration was cut: batches, threads, shards, kills."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from compile_tools import HEAD, ROOT, cli, environment, project, tree
from seeds import few_of
from test_compile_reproducible import detector

import qdsl
from qdsl.calibrate import Observations, Ranges, merged, observe, plan_all

METHODS = ("minmax", "mean_minmax", "entropy", "percentile 99.9", "mse")


def head(method: str) -> str:
    return HEAD.replace("minmax on", f"{method} on")


def written(recipe: Path) -> dict[str, bytes]:
    """Everything that compiling wrote: the lock and the build."""
    built = tree(recipe.parent / "build")
    assert any(name.endswith("model.onnx") for name in built)
    return {**built, "lock": recipe.with_suffix(".lock").read_bytes()}


def compiled(folder: Path, method: str, **words: Any) -> dict[str, bytes]:
    recipe = project(folder, head=head(method))
    qdsl.compile(recipe, out=folder / "build", **words)
    return written(recipe)


@pytest.mark.parametrize("method", METHODS)
def test_batches_and_threads(method: str, tmp_path: Path) -> None:
    first = compiled(tmp_path / "first", method, batch=1, workers=1)
    for batch, workers in ((7, 1), (3, 4)):
        assert compiled(tmp_path / f"{batch}-{workers}", method, batch=batch, workers=workers) == first


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shards", few_of([2, 1, 5], 1))
def test_shards(method: str, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shard is observed apart, written as text, and read back in another order."""

    def in_shards(model: Any, asked: Mapping[str, Any], dataset: Any, **words: Any) -> Mapping[str, Ranges]:
        requests = list(asked.values())
        parts = [observe(model, requests, dataset, shard=(i, shards)).to_json() for i in range(shards)]
        whole, (ways, _) = merged([Observations.from_json(part) for part in parts[::-1]]), plan_all(model, requests)
        return {target: whole.ranges(each) for target, each in zip(asked, ways, strict=True)}

    first = compiled(tmp_path / "first", method)
    monkeypatch.setattr("qdsl.ranges.calibrating.calibrate.calibrate_each", in_shards)
    assert compiled(tmp_path / "again", method) == first


KILLED = """
import os, signal, sys
import qdsl
from qdsl.calibrate import running
running.SAVE_EVERY = 0.0
def hear(event):
    if event.total and event.done == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
qdsl.compile({recipe!r}, out={out!r}, workers=1, listener=hear)
"""


def kill_after(samples: int, recipe: Path) -> None:
    code = KILLED.format(after=samples, recipe=str(recipe), out=str(recipe.parent / "build"))
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["minmax", "entropy"])
def test_kill_in_the_middle(method: str, tmp_path: Path) -> None:
    first = compiled(tmp_path / "first", method)
    recipe = project(tmp_path / "again", head=head(method))
    kill_after(4, recipe)
    (state,) = (recipe.parent / "build" / "demo").glob(".calibration-*")
    assert 0 < len(Observations.from_json(state.read_text()).done) < 6
    assert not recipe.with_suffix(".lock").exists()
    counted: list[int] = []
    qdsl.compile(recipe, out=recipe.parent / "build", listener=lambda event: counted.append(event.done))
    assert min(done for done in counted if done) > 1, "it went on where it was"
    assert written(recipe) == first


@pytest.mark.slow
def test_a_detector_killed_twice_then_locked_without_its_pictures(tmp_path: Path) -> None:
    first = detector(tmp_path / "first")
    qdsl.compile(first, out=first.parent / "build", workers=2, batch=7)
    recipe = detector(tmp_path / "again")
    for samples in (3, 7):
        kill_after(samples, recipe)
    done = cli("compile", recipe, "--out", recipe.parent / "build", "--batch", "3")
    assert done.returncode == 0, done.stderr
    assert written(recipe) == written(first)
    for picture in sorted((recipe.parent / "images").iterdir()):
        picture.unlink()
    done = cli("compile", recipe, "--out", recipe.parent / "third", "--locked")
    assert done.returncode == 0, done.stderr
    model = "detector/ort/model.onnx"
    assert (recipe.parent / "third" / model).read_bytes() == (recipe.parent / "build" / model).read_bytes()


@pytest.mark.slow
def test_one_flipped_byte_in_one_picture_is_refused_by_name(tmp_path: Path) -> None:
    recipe = detector(tmp_path)
    qdsl.compile(recipe, out=tmp_path / "build")
    lock = recipe.with_suffix(".lock").read_text()
    picture = next(path for path in sorted((tmp_path / "images").iterdir()) if f'"{path.name}"' in lock)
    changed = bytearray(picture.read_bytes())
    changed[len(changed) // 2] ^= 1
    picture.write_bytes(changed)
    for words in ((), ("--locked",)):
        done = cli("compile", recipe, "--out", tmp_path / "build", *words)
        assert done.returncode == 1
        assert "lock-stale" in done.stderr and picture.name in done.stderr
