"""What the benchmarks say is computed rightly: where a picture lies in the input, and the table's verdicts."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`script("table")` imports a benchmark without running it."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_a_figure_tells_whether_its_bound_holds(script: Any) -> None:
    figure = script("table").Figure
    assert "| holds |" in figure("latency", "a", 2.6, "x", 2.5, most=False).line()
    assert "| at most 0.005 | **does not hold** |" in figure("accuracy", "a", 0.006, bound=0.005).line()
    assert "| not measured | at most 1 x | undecided |" in figure("calibration", "a", None, "x", 1.0).line()
    assert figure("peers", "a", None, note="did not install: no wheel").line() == (
        "| peers | a | did not install: no wheel |  |  |"
    )


def test_a_part_that_failed_is_shown_with_its_reason(script: Any) -> None:
    (first, *others) = script("table").figures_of({"accuracy": "failed: no such file"})
    assert "failed: no such file" in first.line()
    assert all("not measured" in figure.line() for figure in others)


def test_only_builds_that_are_accurate_enough_count_as_set_by_hand(script: Any) -> None:
    table, accuracy = script("table"), script("detection").Accuracy

    def row(build: str, ms: float) -> dict[str, Any]:
        return {"model": "yolov8n", "threads": 1, "build": build, "ms": ms}

    def scored(map50_95: float) -> dict[str, Any]:
        return {"accuracy": accuracy(map50_95, 0.9, 0.9, 0.9, 0.5, 150)}

    rows = [
        row("float", 90.0),
        row("quantize_static, fast", 30.0),
        row("quantize_static, good", 33.0),
        row("ours", 29.0),
    ]
    known = {"float": scored(0.7), "quantize_static, fast": scored(0.4), "quantize_static, good": scored(0.695)}
    assert table.fastest_by_hand(rows, rows[3], known) == (33.0, "quantize_static, good")
    assert table.fastest_by_hand(rows, rows[3], None)[0] == 30.0
