"""`allocate weights` under bounds on metrics: what is taken was built and measured to keep to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compile_tools import HEAD, project, tree

import qdsl
from qdsl.allocate.evaluating import Evaluator
from qdsl.diag import QdslError
from qdsl.spec.allocation import Trial
from qdsl.spec.assigned import Assigned

OWN = HEAD.replace("quantize", 'data dev from npz "dev.npz"\nquantize', 1)
NARROW = "int4 storage_only"


def line(goal: str, evaluations: int = 8) -> str:
    return f"allocate weights from [int8, int4] {{ minimize {goal}; evaluations {evaluations} }}\n"


def recipe_in(folder: Path, text: str) -> Path:
    found = project(folder, text, head=OWN)
    draw = np.random.default_rng(5)
    np.savez(folder / "dev.npz", x=draw.standard_normal((4, 3, 8, 8)).astype(np.float32))
    return found


def compiled(recipe: Path, **more: Any) -> qdsl.CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", measure=False, **more)


def trials(recipe: Path) -> list[dict[str, Any]]:
    found = json.loads((recipe.parent / "build" / "demo" / "allocation-ort.json").read_text())
    rows: list[dict[str, Any]] = found["trials"]
    return rows


def taken(recipe: Path) -> dict[str, str]:
    found = json.loads((recipe.parent / "build" / "demo" / "allocation-ort.json").read_text())
    return {unit["node"]: unit["chosen"] for unit in found["exact"]["units"]}


def holds(row: dict[str, Any]) -> bool:
    return not row["why"] and all(each["holds"] for each in row["held"])


@pytest.mark.slow
def test_the_smallest_that_was_measured_to_hold_is_taken_and_nothing_is_measured_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_in(tmp_path, line("size under sqnr >= 22 dB on dev"))
    measured: list[frozenset[Assigned]] = []
    real = Evaluator.measure

    def counting(self: Evaluator, assigned: tuple[Assigned, ...]) -> Trial:
        if len(measured) == 2:
            monkeypatch.setattr(Evaluator, "measure", going_on)
            raise KeyboardInterrupt
        return going_on(self, assigned)

    def going_on(self: Evaluator, assigned: tuple[Assigned, ...]) -> Trial:
        measured.append(frozenset(assigned))
        return real(self, assigned)

    monkeypatch.setattr(Evaluator, "measure", counting)
    with pytest.raises(KeyboardInterrupt):
        compiled(recipe)
    result = compiled(recipe)
    rows = trials(recipe)
    assert len(measured) == len(set(measured)) == len(rows) <= 8
    held = [row for row in rows if holds(row)]
    assert len(held) < len(rows)
    best = min(held, key=lambda row: row["bytes"])
    assert {node for node, choice in taken(recipe).items() if choice == NARROW} == set(best["assigned"][NARROW])
    assert {w.node: w.scheme.dtype.name for w in result.targets[0].plan.weights} == {
        node: choice.split()[0] for node, choice in taken(recipe).items()
    }
    lock = recipe.with_suffix(".lock").read_text()
    assert "sqnr >= 22 dB on dev: " in lock and f"{len(rows)} evaluations" in lock


@pytest.mark.slow
def test_under_a_size_the_first_that_holds_by_swaps_is_taken(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, line("loss under size <= 9246 B, sqnr >= 22 dB on dev"))
    result = compiled(recipe)
    rows = trials(recipe)
    assert len(rows) > 1 and not any(holds(row) for row in rows[:-1]) and holds(rows[-1])
    assert {node for node, choice in taken(recipe).items() if choice == NARROW} == set(rows[-1]["assigned"][NARROW])
    assert result.targets[0].emitted.size <= 9246
    before = tree(recipe.parent / "build")["demo/ort/model.onnx"]
    for name in ("dev.npz", "calib.npz"):
        (tmp_path / name).unlink()
    assert compiled(recipe, locked=True).from_lock
    assert tree(recipe.parent / "build")["demo/ort/model.onnx"] == before


@pytest.mark.parametrize(
    "goal",
    [
        "size under sqnr >= 60 dB on dev",
        pytest.param("loss under sqnr >= 60 dB on dev", marks=pytest.mark.slow),
        pytest.param("loss under size <= 1 MB, sqnr >= 60 dB on dev", marks=pytest.mark.slow),
    ],
)
def test_where_nothing_holds_the_nearest_is_told_and_nothing_written(tmp_path: Path, goal: str) -> None:
    most = 1 if goal.startswith("size") else 3
    recipe = recipe_in(tmp_path, line(goal, most))
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    (found,) = caught.value.diagnostics
    assert found.code == "allocate-bound" and found.notes[0].startswith("the nearest: sqnr >= 60 dB on dev: ")
    assert not (recipe.parent / "build" / "demo" / "ort" / "model.onnx").exists()
    assert 1 <= len(trials(recipe)) <= most


def test_the_data_of_a_bound_is_asked_for_by_the_plan(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe_in(tmp_path, line("size under sqnr >= 22 dB")))
    assert [each.code for each in caught.value.diagnostics] == ["allocate-data"]
