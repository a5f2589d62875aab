"""`compile --shards`: the same lock and artifact from any number of processes, whatever happens to one of them."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, artifacts, project
from seeds import few_of

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.work import engines

METHODS = ("minmax", "mean_minmax", "entropy", "percentile 99.9", "mse")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return project(tmp_path, "")


def built(recipe: Path, **settings: object) -> tuple[bytes, dict[str, bytes]]:
    """The lock and the artifacts of a fresh build."""
    out = recipe.parent / f"build{len(list(recipe.parent.glob('build*')))}"
    result = qdsl.compile(recipe, out=out, update=True, **settings)  # type: ignore[arg-type]
    assert result.lock is not None
    left = [path.name for path in result.directory.iterdir() if path.name.startswith(".")]
    assert not left, "nothing is left of the processes"
    return result.lock.read_bytes(), artifacts(out)


@pytest.mark.slow
@pytest.mark.parametrize("method", few_of(METHODS, 1))
def test_any_number_of_processes_gives_the_same_lock(method: str, tmp_path: Path) -> None:
    recipe = project(tmp_path, "", head=HEAD.replace("calibrate minmax", f"calibrate {method}"))
    assert built(recipe, shards=2, measure=False) == built(recipe, measure=False)


@pytest.mark.slow
@pytest.mark.parametrize("shards", [7, 5])
def test_more_processes_than_samples_are_fine(shards: int, recipe: Path) -> None:
    assert built(recipe, shards=shards, batch=2, workers=1, measure=False) == built(recipe, measure=False)


def test_a_killed_process_loses_nothing(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = built(recipe, measure=False)
    killed: set[tuple[str, ...]] = set()
    real = subprocess.run

    def dies_first(words: Sequence[str], **settings: object) -> subprocess.CompletedProcess[bytes]:
        if "qdsl.ranges.sharding" not in words or tuple(words) in killed:
            return real(words, **settings)  # type: ignore[call-overload,no-any-return]
        settings.pop("check")
        process = subprocess.Popen(words, **settings)  # type: ignore[call-overload]
        killed.add(tuple(words))
        os.kill(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        return subprocess.CompletedProcess(words, process.returncode, out)

    monkeypatch.setattr(engines.subprocess, "run", dies_first)
    assert built(recipe, shards=2, measure=False) == alone
    assert len(killed) == 2, "each shard's first process"


@pytest.mark.slow
def test_a_shard_that_fails_is_told_with_its_reason(recipe: Path) -> None:
    samples = np.random.default_rng(0).random((6, 3, 8, 8), dtype=np.float32)
    samples[3, 0, 0, 0] = np.nan
    np.savez(recipe.parent / "calib.npz", x=samples)
    with pytest.raises(QdslError) as caught:
        built(recipe, shards=2)
    (found,) = caught.value.diagnostics
    assert (found.code, found.headline) == ("calibration-shard", "shard 2 of 2 of dataset calib was not calibrated")
    assert found.label is not None and "non-finite" in found.label
    assert found.span is not None and found.span.line == 3
    assert not (recipe.parent / "build0").exists()


def test_an_unknown_engine_is_refused(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compile", str(recipe), "--engine", "locl", "--out", str(recipe.parent / "build")]
    for more in ([], ["--shards", "2"]):
        assert main([*words, *more]) == 1
        assert "`local`" in capsys.readouterr().err
    assert not (recipe.parent / "build").exists()


@pytest.mark.slow
def test_progress_counts_samples(recipe: Path) -> None:
    heard: list[tuple[int, int]] = []

    def listen(event: qdsl.measure.events.Event) -> None:
        if event.stage == "calibrate" and event.total:
            heard.append((event.done, event.total))

    qdsl.compile(recipe, out=recipe.parent / "build", shards=3, listener=listen, measure=False)
    assert heard == [(2, 6), (4, 6), (6, 6)]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the engine ray needs ray")
def test_shards_on_ray_give_the_same_lock(recipe: Path) -> None:
    assert built(recipe, shards=2, engine="ray", measure=False) == built(recipe, measure=False)
