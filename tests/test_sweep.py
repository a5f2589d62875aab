"""`sweep`: every cell once, failed ones shown, what is done kept, and the same results wherever cells run."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, project
from seeds import few_of

import qdsl
from qdsl.api.sweeping import SweepResult
from qdsl.cli import main
from qdsl.diag import QdslError

RULES = "param bits = int8 from [int8, uint8]\n"
SCHEMES = "param scheme = symmetric from [symmetric, affine]\n"
VALUES = {"bits": ["int8", "uint8"], "scheme": ["symmetric", "affine"]}
SWEPT = HEAD.replace("weights int8 symmetric per_channel", "weights $bits per_channel")
BOTH = HEAD.replace("weights int8 symmetric per_channel", "weights $bits $scheme per_channel")
EVALUATE = "evaluate fidelity on calib { measure sqnr }\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Two cells: a parameter of two values."""
    return project(tmp_path, RULES + EVALUATE, head=SWEPT)


def swept(recipe: Path, *more: Path, **settings: object) -> SweepResult:
    return qdsl.sweep([recipe, *more], out=recipe.parent / "sweep", **settings)  # type: ignore[arg-type]


def statuses(recipe: Path) -> list[str]:
    """What the sweep of one cell had to do."""
    return [cell.status for cell in swept(recipe, sets={"bits": "int8"}).cells]


@pytest.mark.slow
@pytest.mark.parametrize("fixed", few_of([{"scheme": "affine"}, {}, {"scheme": "affine", "bits": "uint8"}], 1))
def test_every_combination_is_a_cell_and_a_fixed_parameter_no_dimension(fixed: dict[str, str], tmp_path: Path) -> None:
    recipe = project(tmp_path, RULES + SCHEMES + EVALUATE, head=BOTH)
    heard: list[tuple[str, int, int]] = []
    found = swept(recipe, sets=fixed, listener=lambda result, done, total: heard.append((result.status, done, total)))
    bits, schemes = ([fixed[name]] if name in fixed else row for name, row in VALUES.items())
    cells = [{"bits": b, "scheme": s} for b in bits for s in schemes]
    assert [dict(cell.cell.sets) for cell in found.cells] == cells
    assert [cell.cell.name for cell in found.cells] == [f"demo+bits={c['bits']}+scheme={c['scheme']}" for c in cells]
    assert heard == [("done", n, len(cells)) for n in range(1, len(cells) + 1)]
    assert {cell.status for cell in found.cells} == {"done"} and found.holds
    for cell in found.cells:
        assert cell.measurements is not None and cell.measurements["evaluations"][0]["samples"] == 6
    models = {(cell.directory / "demo" / "ort" / "model.onnx").read_bytes() for cell in found.cells}
    assert len(models) == len(cells)
    assert not recipe.with_suffix(".lock").exists()


@pytest.mark.slow
def test_a_second_sweep_does_what_is_missing(recipe: Path) -> None:
    first = swept(recipe)
    (first.cells[1].directory / "cell.json").unlink()
    again = swept(recipe)
    assert [cell.status for cell in again.cells] == ["kept", "done"]
    text = recipe.read_text()
    recipe.write_text(text.replace("minmax", "mean_minmax"))
    assert statuses(recipe) == ["done"], "the recipe changed"
    np.savez(recipe.parent / "calib.npz", x=np.random.default_rng(9).random((6, 3, 8, 8), dtype=np.float32))
    assert statuses(recipe) == ["done"], "the data changed"
    assert statuses(recipe) == ["kept"]


@pytest.mark.slow
def test_a_failed_cell_is_shown_and_the_rest_goes_on(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(recipe.read_text().replace("from [int8, uint8]", "from [int8, int3, uint8]"))
    words = ["sweep", str(recipe), "--out", str(recipe.parent / "sweep")]
    with pytest.raises(QdslError):
        swept(recipe, sets={"bits": "int3"})
    assert not (recipe.parent / "sweep").exists(), "an error before any cell runs"
    recipe.write_text(recipe.read_text().replace("int3", "int4"))  # a type that no Conv here computes with
    assert main(words) == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3 and "failed: error[" in shown[1]
    assert "sqnr" in shown[0] and "sqnr" in shown[2]


@pytest.mark.slow
def test_budgets_of_cells_decide_the_exit_code(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(recipe.read_text().replace("measure sqnr", "require size <= 1 KiB"))
    words = ["sweep", str(recipe), "--out", str(recipe.parent / "sweep"), "--json"]
    assert main(words) == 4
    told = json.loads(capsys.readouterr().out)
    assert [cell["holds"] for cell in told["cells"]] == [False] * 2
    assert main(words) == 4, "kept cells still count"


@pytest.mark.slow
def test_jobs_side_by_side_give_the_same(recipe: Path) -> None:
    one = swept(recipe)
    two = qdsl.sweep([recipe], out=recipe.parent / "other", jobs=2)
    assert results(one) == results(two)


def results(found: SweepResult) -> list[tuple[str, bytes, object]]:
    return [
        (c.cell.name, (c.directory / "demo" / "ort" / "model.onnx").read_bytes(), (c.measurements or {})["evaluations"])
        for c in found.cells
    ]


def test_recipes_of_one_name_and_unknown_engines_are_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    project(tmp_path / "other", RULES, head=SWEPT)
    with pytest.raises(QdslError) as caught:
        swept(recipe, tmp_path / "other" / "demo.q")
    assert caught.value.diagnostics[0].code == "sweep-names"
    with pytest.raises(QdslError) as caught:
        swept(recipe, how="spark")
    assert caught.value.diagnostics[0].code == "sweep-engine"
    with pytest.raises(ValueError, match="jobs"):
        swept(recipe, jobs=0)


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(recipe: Path) -> None:
    out = recipe.parent / "sweep"
    words = [sys.executable, "-m", "qdsl", "sweep", str(recipe), "--out", str(out)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # one cell is done
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    statuses = [cell.status for cell in swept(recipe).cells]
    assert statuses[0] == "kept" and set(statuses) <= {"kept", "done"}
    whole = qdsl.sweep([recipe], out=recipe.parent / "other")
    assert results(swept(recipe)) == results(whole)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the engine ray needs ray")
def test_twelve_cells_on_ray_equal_the_serial_run_though_a_worker_dies(tmp_path: Path) -> None:
    rules = RULES + SCHEMES + "param method = minmax from [minmax, mean_minmax, mse]\n" + EVALUATE
    recipe = project(tmp_path, rules, head=BOTH.replace("calibrate minmax", "calibrate $method"))
    killed: list[int] = []

    def kill_one(result: object, done: int, total: int) -> None:
        if done == 2:
            listed = subprocess.run(["pgrep", "-f", "ray::run_job"], capture_output=True, text=True, check=False)
            killed.extend(int(pid) for pid in listed.stdout.split()[:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    on_ray = qdsl.sweep([recipe], out=tmp_path / "ray", jobs=2, how="ray", listener=kill_one)
    assert len(on_ray.cells) == 12 and not on_ray.failed and killed
    assert results(on_ray) == results(qdsl.sweep([recipe], out=tmp_path / "serial"))
