"""A broken budget names what to try next, and what it names was tried: following it gives what was told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.api import CompileResult
from qdsl.api.calibrating import settled_words
from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostic, Severity


def compiled(recipe: Path, **words: bool) -> CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", workers=1, **words)


def told(result: CompileResult) -> tuple[Diagnostic, ...]:
    return tuple(d for d in result.diagnostics if d.code == "budget-broken")


def figure(result: CompileResult) -> float:
    (budget,) = result.targets[0].budgets
    assert budget.value is not None
    return budget.value


def follow(folder: Path, recipe: Path, cure: str) -> CompileResult:
    """The recipe with the line that the help tells to add, compiled elsewhere."""
    line = re.search(r"add `(.+?)`[:,]", cure)
    assert line is not None, cure
    other = project(folder)
    other.write_text(f"{recipe.read_text()}{line[1]}\n")
    return compiled(other)


@pytest.mark.parametrize("locked", [False, True])
def test_a_cure_that_holds_is_told_and_holds(locked: bool, tmp_path: Path) -> None:
    before = figure(compiled(project(tmp_path / "c", "evaluate fidelity on calib { require sqnr >= 0 dB }\n")))
    recipe = project(tmp_path / "a", f"evaluate fidelity on calib {{ require sqnr >= {before + 0.5:.2f} dB }}\n")
    result = compiled(recipe)
    result = compiled(recipe, locked=True) if locked else result
    (warning,) = told(result)
    assert warning.severity is Severity.WARNING and warning.span is not None and warning.span.line == 11
    assert "tried, and it holds with" in warning.help[0]
    after = follow(tmp_path / "b", recipe, warning.help[0])
    assert after.holds and not told(after)
    assert f"{figure(after):.2f} dB" in warning.help[0], "the figure that was told is the one that comes out"


def test_what_helps_without_holding_says_so(tmp_path: Path) -> None:
    recipe = project(tmp_path / "a", "evaluate fidelity on calib { require sqnr >= 120 dB }\n")
    result = compiled(recipe)
    (warning,) = told(result)
    assert "still broken" in warning.help[0]
    after = follow(tmp_path / "b", recipe, warning.help[0])
    assert figure(after) > figure(result) and not after.holds


def test_a_keep_that_costs_the_share_in_integers_is_named(tmp_path: Path) -> None:
    rest = "keep op Conv in float32\n"
    head = HEAD.replace("target ort\n", "target ort { require integer_share >= 95 % }\n")
    recipe = project(tmp_path / "a", rest, head=head)
    (warning,) = told(compiled(recipe))
    assert warning.help == ("take `keep` on line 11 out: tried, and it holds with 100.00 % (predicted)",)
    other = project(tmp_path / "b", "", head=head)
    assert compiled(other).holds


def test_size_is_cured_by_narrower_weights(tmp_path: Path) -> None:
    head = HEAD.replace("target ort\n", "target ort { require size <= 4200 B }\n").replace(
        "weights int8", "weights int16 storage_only"
    )
    recipe = project(tmp_path / "a", "", head=head)
    result = compiled(recipe)
    for warning in told(result):
        assert "layers op [Conv, Gemm, MatMul]" in warning.help[0] or "can be planned" in warning.help[0]
    assert bool(told(result)) is not result.holds


def test_time_is_left_to_tuning(tmp_path: Path) -> None:
    rest = "evaluate fidelity on calib { profile latency { runs 2; warmup 0 }; require latency <= 1 ns }\n"
    (warning,) = told(compiled(project(tmp_path, rest)))
    assert warning.help == ("add `tune latency`: it plans, and measures by itself what is faster",)


def test_what_holds_is_not_told(tmp_path: Path) -> None:
    assert not told(compiled(project(tmp_path, "evaluate fidelity on calib { require sqnr >= 1 dB }\n")))


@pytest.mark.parametrize(
    ("settled", "of", "says"),
    [(64, 64, "had not settled"), (49, 64, "had not settled"), (48, 64, "settled after 48"), (1, 1, "had not settled")],
)
def test_ranges_have_settled_when_the_last_quarter_moved_none(settled: int, of: int, says: str) -> None:
    words = settled_words(Ranges({"x": 0.0}, {"x": 1.0}, of, settled))
    assert says in words
    assert ("sample " + str(settled) in words) is (says == "had not settled")


def test_a_dataset_that_keeps_growing_says_so(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    shape = (8, 3, 8, 8)
    growing = np.random.default_rng(0).standard_normal(shape) * np.arange(1, 9).reshape(8, 1, 1, 1)
    np.savez(tmp_path / "calib.npz", x=growing.astype(np.float32))
    heard: list[str] = []
    qdsl.compile(recipe, out=tmp_path / "build", listener=lambda event: heard.append(event.text))
    assert any("8 samples, ranges had not settled" in text for text in heard)
    np.savez(tmp_path / "calib.npz", x=growing[::-1].astype(np.float32))
    heard.clear()
    qdsl.compile(recipe, out=tmp_path / "build", listener=lambda event: heard.append(event.text), update=True)
    assert any("8 samples, ranges settled after" in text for text in heard)
