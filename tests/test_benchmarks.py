"""What the benchmarks say is computed rightly: where a picture lies in the input, and the table's verdicts."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from data_cases import block

from qdsl.data import ModelInput
from qdsl.data.preprocess import build

FOLDER = Path(__file__).resolve().parent / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`script("table")` imports a benchmark without running it."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


@pytest.mark.parametrize("size", [(200, 120), (90, 220), (64, 64)])
@pytest.mark.parametrize(
    "steps",
    [
        (("resize", 96, 96, "letterbox"),),
        (("resize", 96, 128, "letterbox", "top_left"),),
        (("resize", 96, 80, "stretch"),),
        (("resize", 64, 80, "crop"),),
        (("resize", 128, 128, "letterbox"), ("crop", 60, 100)),
        (("crop", 50, 40),),
    ],
)
def test_a_place_in_the_input_is_traced_back_to_the_picture(
    script: Any, size: tuple[int, int], steps: tuple[tuple[Any, ...], ...]
) -> None:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = np.arange(width), np.arange(height)[:, None], 200
    spec = block(*steps)
    array = build("x", spec, ModelInput("uint8", None), spec.span).picture(pixels)[0].astype(float)
    left, top, right, bottom = script("detection").region(spec, width, height)
    rows, columns = np.nonzero(array[2] == 200)  # inside the picture, not padding
    x = (columns + 0.5 - left) / (right - left) * width - 0.5
    y = (rows + 0.5 - top) / (bottom - top) * height - 0.5
    inner = (x > 4) & (x < width - 5) & (y > 4) & (y < height - 5)
    assert inner.sum() > 100
    np.testing.assert_allclose(array[0][rows, columns][inner], x[inner], atol=0.51)
    np.testing.assert_allclose(array[1][rows, columns][inner], y[inner], atol=0.51)


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
