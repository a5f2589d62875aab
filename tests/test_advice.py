"""A broken budget names what to try next, and what it names was tried: following it gives what was told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl import calibrate
from qdsl.api import CompileResult
from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostic, Severity
from qdsl.measure import evaluating
from qdsl.ranges import recalibrating
from qdsl.ranges.calibrating import settled_words


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


@pytest.mark.slow
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


@pytest.mark.slow
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


CLIPPED = HEAD.replace("minmax on calib", "percentile 80 on calib")


@pytest.mark.slow
def test_other_calibrations_are_tried_and_come_out_as_told(tmp_path: Path) -> None:
    recipe = project(tmp_path / "a", "evaluate fidelity on calib { require sqnr >= 25 dB }\n", head=CLIPPED)
    result = compiled(recipe)
    (warning,) = told(result)
    assert figure(result) < 25
    found = re.match(r"on line 7 write `calibrate (minmax|mse) on calib`: tried, and it holds with", warning.help[0])
    assert found is not None, warning.help
    assert any("calibrate entropy" in note and "dB to float over 6 samples" in note for note in warning.notes)
    head = CLIPPED.replace("percentile 80", found[1])
    after = compiled(project(tmp_path / "b", "evaluate fidelity on calib { require sqnr >= 25 dB }\n", head=head))
    assert after.holds and f"{figure(after):.2f} dB" in warning.help[0]


@pytest.mark.slow
def test_where_a_base_says_how_to_calibrate_a_rule_is_told(tmp_path: Path) -> None:
    base = project(tmp_path, head=CLIPPED)
    recipe = base.with_name("child.q")
    recipe.write_text('recipe child\nextends "demo.q"\nevaluate fidelity on calib { require sqnr >= 120 dB }\n')
    (warning,) = told(compiled(recipe))
    assert any("`layers all { calibrate minmax on calib }`" in note for note in warning.notes)


@pytest.mark.slow
def test_few_of_many_samples_are_looked_at_again_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalibrating, "MOST", 3)
    recipe = project(tmp_path, "evaluate fidelity on calib { require sqnr >= 25 dB }\n", head=CLIPPED)
    (warning,) = told(compiled(recipe))
    assert "with ranges from 3 of 6 samples of calib" in warning.help[0]


@pytest.mark.slow
def test_one_pass_answers_for_every_method_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[set[str]] = []
    observe = calibrate.observe

    def watched(model: Any, asked: Any, *rest: Any, **words: Any) -> Any:
        passes.append({each.method for requests in asked for each in requests})
        return observe(model, asked, *rest, **words)

    monkeypatch.setattr(calibrate, "observe", watched)
    rest = "evaluate fidelity on calib { require sqnr >= 120 dB; require cosine >= 1.5 }\n"
    warnings = told(compiled(project(tmp_path, rest)))
    assert len(warnings) == 2
    for method in ("percentile 99.99", "entropy", "mse"):
        assert all(f"calibrate {method} on calib" in " ".join(each.notes) for each in warnings)
    assert sum(bool(found & {"percentile", "entropy", "mse"}) for found in passes) == 1


@pytest.mark.slow
def test_without_the_samples_it_says_that_it_could_not_try(tmp_path: Path) -> None:
    rest = 'data val from npz "val.npz"\nevaluate fidelity on val { require sqnr >= 120 dB }\n'
    recipe = project(tmp_path, rest)
    np.savez(tmp_path / "val.npz", x=np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32))
    compiled(recipe)
    (tmp_path / "calib.npz").unlink()
    (warning,) = told(compiled(recipe, locked=True))
    assert any("not tried: `calibrate entropy on calib` on line 7, since the samples" in note for note in warning.notes)


@pytest.mark.slow
def test_the_float_model_is_evaluated_once_for_all_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[list[str]] = []
    evaluate = evaluating.evaluate

    def watched(expected: Any, builds: Any, *rest: Any) -> Any:
        evaluated.append(sorted(builds))
        return evaluate(expected, builds, *rest)

    monkeypatch.setattr(evaluating, "evaluate", watched)
    compiled(project(tmp_path, "evaluate fidelity on calib { require sqnr >= 120 dB; require cosine >= 1.5 }\n"))
    build, changes = evaluated
    assert build == ["float", "ort"] and len(changes) in (3, 4) and "float" in changes
