"""Profiles: every run is kept, models take turns in processes of their own, and what does not run is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project
from data_cases import graph_of
from onnx import helper

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.harness import worker
from qdsl.harness.profile import Subject, Wish, profile
from qdsl.harness.profiles import BuildProfile


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """images [n, 3, 8, 8] -> y, and eight inputs for it beside it."""
    node = helper.make_node("Relu", ["images"], ["y"], name="relu1")
    (tmp_path / "model.onnx").write_bytes(graph_of([node], ["y"], shape=("n", 3, 8, 8)).SerializeToString())
    samples = np.random.default_rng(0).random((8, 1, 3, 8, 8), dtype=np.float32)
    worker.store_feeds(tmp_path / "inputs.npz", [{"images": sample} for sample in samples], batch=2)
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("runs", [1, 7, 23])
def test_every_run_of_every_model_is_kept(model: Path, runs: int) -> None:
    heard: list[tuple[int, int]] = []
    subjects = [Subject("float", model), Subject("ort", model)]
    found = profile("ort", subjects, model.parent / "inputs.npz", Wish(runs, 2, 2, 1), lambda *done: heard.append(done))
    assert [(build.build, len(build.seconds)) for build in found.builds] == [("float", runs), ("ort", runs)]
    assert heard[-1] == (2 * runs, 2 * runs) and heard == sorted(heard)
    for build in found.builds:
        assert min(build.seconds) > 0 and build.cpu > 0
        assert build.latency("p50") <= build.latency("p90") <= build.latency("p99") <= build.latency("max")
        assert found.throughput(build.build) == pytest.approx(2 * runs / sum(build.seconds))
        if Path("/proc/self/status").exists():
            assert build.peak_memory and build.bare_memory and build.peak_memory > build.bare_memory > 1 << 20
    assert found.environment["processors"] == str(os.cpu_count())


@pytest.mark.parametrize(
    ("shapes", "batch", "feeds"),
    [
        ([(1, 2)] * 5, 2, (2, 2, 2)),
        ([(1, 2)] * 3, 4, (1, 4, 2)),
        ([(3, 2)] * 4, 3, (4, 3, 2)),
        ([(3, 2)] * 4, 1, (4, 3, 2)),
        ([()] * 2, 1, (2,)),
        ([(1, 2), (1, 5), (1, 2)], 1, (2, 1, 2)),
    ],
)
def test_feeds_have_the_rows_that_a_profile_asks_for(
    shapes: list[tuple[int, ...]], batch: int, feeds: tuple[int, ...], tmp_path: Path
) -> None:
    samples = [{"x": np.full(shape, at, np.float32)} for at, shape in enumerate(shapes)]
    worker.store_feeds(tmp_path / "a.npz", samples, batch)
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["x"].shape == feeds


def test_percentiles_are_by_nearest_rank() -> None:
    found = BuildProfile("a", tuple(float(n) for n in range(10, 0, -1)), 1.0, None, None)
    assert [found.latency(form) for form in ("p50", "p90", "p95", "p99", "max", "mean")] == [5, 9, 10, 10, 10, 5.5]


def test_a_model_that_does_not_run_is_refused_with_its_reason(model: Path) -> None:
    broken = model.parent / "broken.onnx"
    broken.write_bytes(model.read_bytes()[:-20])
    with pytest.raises(QdslError) as caught:
        profile("ort", [Subject("float", model), Subject("ort", broken)], model.parent / "inputs.npz", Wish(3))
    (found,) = caught.value.diagnostics
    assert found.code == "artifact-refused" and "ort model" in found.headline and found.label


def test_the_script_needs_nothing_of_qdsl(model: Path, tmp_path: Path) -> None:
    script = tmp_path / "elsewhere" / "worker.py"
    script.parent.mkdir()
    script.write_bytes(Path(str(worker.__file__)).read_bytes())
    words = ["--model", model, "--inputs", model.parent / "inputs.npz", "--warmup", "1"]
    code = "import sys; sys.modules['qdsl'] = None; import runpy; sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(script), *map(str, words)],
        input="4\n2\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=script.parent,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(line["seconds"]) for line in lines[1:]] == [4, 2]


@pytest.mark.slow
def test_budgets_on_latency_are_decided_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = (
        "evaluate fidelity on calib {\n  profile latency { runs 4; warmup 1; threads 1 }\n"
        "  require latency p90 <= 10 s\n  require latency speedup >= 1000\n  require memory <= 1 KiB\n"
        "  require integer_share >= 1 %\n}\n"
    )
    path = project(tmp_path, rules)
    assert main(["compile", str(path), "--out", str(tmp_path / "build"), "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    verdicts = {
        b["text"].split(" ")[0] + " " + b["text"].split(" ")[1]: b["verdict"] for b in told["targets"][0]["budgets"]
    }
    assert verdicts == {
        "latency p90": "holds",
        "latency speedup": "broken",
        "memory <=": "broken" if Path("/proc/self/status").exists() else verdicts["memory <="],
        "integer_share >=": "holds",
    }
    (profiled,) = told["profiles"]
    assert profiled["threads"] == 1 and len(profiled["builds"]["ort"]["seconds"]) == 4
    assert main(["compile", str(path), "--out", str(tmp_path / "build")]) == 4
    shown = capsys.readouterr().out
    assert "profile    measured here: 4 runs each, in turns, batch 1, 1 thread" in shown
    assert "(measured here, 4 runs)" in shown


@pytest.mark.slow
def test_a_budget_alone_asks_for_a_profile(tmp_path: Path) -> None:
    head = HEAD.replace("target ort", "target ort { require throughput >= 1 fps }")
    result = qdsl.compile(project(tmp_path, head=head), out=tmp_path / "build")
    assert result.profiles[0].runs == 200
    assert [budget.verdict for budget in result.targets[0].budgets] == ["holds"]


@pytest.mark.slow
def test_an_input_may_have_any_name(tmp_path: Path) -> None:
    path = project(tmp_path, "evaluate fidelity on calib { profile latency { runs 2 } }\n")
    renamed = onnx.load(tmp_path / "demo.onnx")
    renamed.graph.input[0].name = renamed.graph.node[0].input[0] = "file"
    onnx.save(renamed, tmp_path / "demo.onnx")
    path.write_text(path.read_text().replace('npz "calib.npz"', 'npz "calib.npz" { array "x" "file" }'))
    assert qdsl.compile(path, out=tmp_path / "build").profiles[0].runs == 2
