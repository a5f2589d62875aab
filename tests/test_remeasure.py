"""`qdsl evaluate` and `qdsl profile`: a build that is there is measured again, and only if it is the recipe's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import project

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.measure import profiling

RULES = "evaluate fidelity on calib { measure sqnr; require sqnr >= 3 dB }\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = project(tmp_path, RULES)
    qdsl.compile(path, out=tmp_path / "build", measure=False)
    return path


def measurements(recipe: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((recipe.parent / "build/demo/measurements.json").read_text())
    return found


def refused(recipe: Path) -> str:
    with pytest.raises(QdslError) as caught:
        qdsl.evaluate(recipe, out=recipe.parent / "build")
    (found,) = caught.value.diagnostics
    assert any("qdsl compile" in help for help in found.help)
    return found.code


def test_evaluating_later_finds_what_compile_finds(recipe: Path) -> None:
    assert not measurements(recipe)["evaluations"]
    found = qdsl.evaluate(recipe, out=recipe.parent / "build")
    (budget,) = found.budgets["ort"]
    assert found.holds and budget.verdict == "holds"
    again = qdsl.compile(recipe, out=recipe.parent / "other")
    assert found.evaluations[0].builds == again.evaluations[0].builds
    assert measurements(recipe)["evaluations"][0]["samples"] == 6
    assert "sqnr" in found.report.read_text()


def test_artifacts_are_left_alone(recipe: Path) -> None:
    folder = recipe.parent / "build/demo"
    names = ("ort/model.onnx", "ort/manifest.json", "plan.json", "ranges.json")
    before = [(folder / name).stat().st_mtime_ns for name in names]
    qdsl.evaluate(recipe, out=recipe.parent / "build")
    qdsl.profile(recipe, out=recipe.parent / "build", settings={"runs": 2, "warmup": 1})
    assert before == [(folder / name).stat().st_mtime_ns for name in names]


@pytest.mark.slow
def test_each_verb_keeps_what_the_other_found(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(recipe.parent / "build")]
    assert main(["profile", str(recipe), *out, "--runs", "3", "--warmup", "1", "--threads", "1"]) == 0
    assert "3 runs each, in turns, batch 1, 1 thread" in capsys.readouterr().out
    assert main(["evaluate", str(recipe), *out]) == 0
    told = capsys.readouterr().out
    assert "evaluate   fidelity on calib, 6 samples" in told and "3 runs each" in told and "holds" in told
    found = measurements(recipe)
    assert len(found["profiles"][0]["builds"]["ort"]["seconds"]) == 3 and found["evaluations"]
    assert main(["profile", str(recipe), *out, "--runs", "4", "--warmup", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [len(each["builds"]["ort"]["seconds"]) for each in told["profiles"]] == [4] and told["evaluations"]
    assert told["budgets"]["ort"][0]["verdict"] == "holds"


def test_a_budget_that_is_written_later_is_decided(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(recipe.read_text().replace(">= 3 dB", ">= 300 dB"))
    assert main(["evaluate", str(recipe), "--out", str(recipe.parent / "build")]) == 4
    assert "BROKEN" in capsys.readouterr().out
    assert measurements(recipe)["builds"]["ort"]["budgets"][0]["verdict"] == "broken"


def test_another_plan_is_not_measured(recipe: Path) -> None:
    before = measurements(recipe)
    recipe.write_text(recipe.read_text().replace("target ort", "keep op Gemm in float32\ntarget ort"))
    assert refused(recipe) == "measurements-other"
    assert measurements(recipe) == before


def test_another_model_is_not_measured(recipe: Path) -> None:
    model = onnx.load(recipe.parent / "demo.onnx")
    values = onnx.numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float32(2) * values, "w1"))
    onnx.save(model, recipe.parent / "demo.onnx")
    assert refused(recipe) == "measurements-other"


@pytest.mark.parametrize("text", ["[]", '{"session_options": 3}', '{"session_options": {"a": 1}}', "null", "{}", '{"a'])
def test_a_manifest_that_was_changed_is_refused(text: str, recipe: Path) -> None:
    (recipe.parent / "build/demo/ort/manifest.json").write_text(text, encoding="utf-8")
    assert refused(recipe) == "artifact-refused"


def test_without_a_build_there_is_nothing_to_measure(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.evaluate(recipe, out=tmp_path / "nowhere")
    assert caught.value.diagnostics[0].code == "measurements-missing"
    assert not (tmp_path / "nowhere").exists()
    (recipe.parent / "build/demo/ort/model.onnx").unlink()
    with pytest.raises(QdslError) as caught:
        qdsl.profile(recipe, out=recipe.parent / "build")
    assert caught.value.diagnostics[0].code == "measurements-missing"


def test_a_profile_that_cannot_be_made_again_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project(tmp_path, RULES.replace("}", "; profile latency { runs 2; warmup 1 } }"))
    qdsl.compile(path, out=tmp_path / "build")
    before = measurements(path)["profiles"]
    monkeypatch.setattr(profiling, "islice", lambda *rest: iter(()))  # no samples: an input of free shape, and no data
    found = qdsl.profile(path, out=tmp_path / "build")
    assert [each.code for each in found.diagnostics] == ["profile-left-out"]
    assert measurements(path)["profiles"] == before and len(before) == 1
