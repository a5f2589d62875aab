"""Bounds of `allocate` on a build as a whole hold for what ships, whatever `tune` takes or leaves beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.targets.ort import latency

OWN = HEAD.replace("quantize", 'data dev from npz "dev.npz"\nquantize', 1)
TUNE = "tune latency { trials 5; threads 1; require sqnr drop <= 90 dB }\n"
WEIGHTS = "allocate weights from [int8, int4 storage_only] {{ minimize loss under size <= {} B }}\n"


def branches() -> onnx.ModelProto:
    """A Concat of branches whose ranges differ, of which one is read beside it: timing alone decides whether they share
    a scale."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> net (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] z) {'
        "[left] l = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1) [right] q = Conv (x, w2)"
        "[concat] j = Concat <axis = 1> (l, q) [beside] m = Conv (l, w3) [end] y = Conv (j, w4) [sum] z = Add (y, m)}"
    )
    draw = np.random.default_rng(0)
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 3, 1, 1), "w3": (4, 4, 1, 1), "w4": (4, 8, 1, 1)}
    for name, shape in shapes.items():
        values = (30 if name == "w2" else 1) * draw.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return proto


def recipe_in(folder: Path, rules: str, proto: onnx.ModelProto | None = None) -> Path:
    recipe = project(folder, rules, head=OWN, proto=proto)
    draw = np.random.default_rng(5)
    np.savez(folder / "dev.npz", x=draw.standard_normal((4, 3, 8, 8)).astype(np.float32))
    return recipe


def compiled(recipe: Path) -> Any:
    return qdsl.compile(recipe, out=recipe.parent / "build", measure=False).targets[0]


def raced(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    """Every alternative is so much faster."""
    turns = lambda base, other, feed, blocks, heard, _: ([10.0] * blocks, [10.0 / gain] * blocks)  # noqa: E731
    monkeypatch.setattr(latency, "race", turns)


@pytest.mark.slow
def test_the_file_keeps_to_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raced(monkeypatch, 1.0)
    free = recipe_in(tmp_path / "free", WEIGHTS.format(99_999) + TUNE, branches())
    size = compiled(free).emitted.size
    lines = [line for line in free.with_suffix(".lock").read_text().splitlines() if line.startswith("tuned ")]
    assert len(lines) == 1 and "left" in lines[0]
    # A byte less, which the mark of the node that was tried has to leave room for, too.
    recipe = recipe_in(tmp_path / "tuned", WEIGHTS.format(size - 1) + TUNE, branches())
    assert compiled(recipe).emitted.size < size


@pytest.mark.slow
def test_what_breaks_a_bound_of_layers_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raced(monkeypatch, 1.5)
    rules = "allocate layers from [int8, float32] {{ minimize macs under sqnr >= -90 dB on dev{} }}\n"
    taken = compiled(recipe_in(tmp_path / "free", rules.format("") + TUNE))
    assert taken.plan.totals.integer_macs < taken.plan.totals.macs
    recipe = recipe_in(tmp_path / "bounded", rules.format(", integer_share >= 99 %") + TUNE)
    left = compiled(recipe)
    assert left.plan.totals.integer_macs == left.plan.totals.macs
    assert "breaks `integer_share >= 99 %` of `allocate`" in recipe.with_suffix(".lock").read_text()
