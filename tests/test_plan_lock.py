"""`plan` tells whether the ranges are open or stand in the lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compile_tools import project

import qdsl
from qdsl.cli import main


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    made = project(tmp_path)
    qdsl.compile(made, out=tmp_path / "build")
    return made


def told(recipe: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["plan", str(recipe)]) == 0
    return [line for line in capsys.readouterr().out.split("\n") if line.startswith(("open:", "locked:"))]


def test_a_fresh_lock_has_the_ranges(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = told(recipe, capsys)
    assert line.startswith("locked: ranges of ") and line.endswith(" tensors: minmax on calib, from demo.lock")
    main(["plan", str(recipe), "--json"])
    assert json.loads(capsys.readouterr().out)["lock"] == str(recipe.with_suffix(".lock"))
    assert qdsl.plan(recipe).lock == recipe.with_suffix(".lock")


def test_without_a_lock_they_are_open(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.with_suffix(".lock").unlink()
    assert qdsl.plan(recipe).lock is None
    assert told(recipe, capsys)[0].startswith("open:")


def test_a_changed_recipe_or_model_leaves_them_open(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = recipe.read_text()
    recipe.write_text(text + "# a comment changes nothing\n")
    assert told(recipe, capsys)[0].startswith("locked:")
    recipe.write_text(text.replace("minmax", "mse"))
    assert told(recipe, capsys)[0].startswith("open:")
    recipe.write_text(text)
    model = recipe.parent / "demo.onnx"
    model.write_bytes(model.read_bytes() + b"\x3a\x00")
    assert told(recipe, capsys)[0].startswith("open:")
