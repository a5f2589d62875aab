"""The log of `compile`: one stream in the order in which things become known, while they do; JSON stands alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compile_tools import ROOT, environment, project

from qdsl.advice import advice
from qdsl.cli import main
from qdsl.measure import evaluating

RULES = "evaluate fidelity on calib { measure sqnr; profile latency { runs 2; warmup 0 }; require sqnr >= 3 dB }\n"
STAGES = [
    "model",
    "calibrate",
    "lock",
    "rewrite",
    "ort",
    "verify",
    "outputs",
    "evaluate",
    "profile",
    "require",
    "report",
]


def stages(text: str) -> list[str]:
    """The first words of lines, each once."""
    found = [line.split()[0] for line in text.splitlines() if line and not line.startswith(" ")]
    return [word for word in dict.fromkeys(found) if word in STAGES]


@pytest.mark.slow
def test_the_whole_log_stands_on_stdout_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(project(tmp_path, RULES)), "--out", str(tmp_path / "build")]) == 0
    told = capsys.readouterr()
    expected = [stage for stage in STAGES if stage != "lock"]
    assert [stage for stage in stages(told.out) if stage != "lock"] == expected
    assert "lock " in told.out
    assert stages(told.err) == []


@pytest.mark.slow
def test_with_json_stdout_holds_one_document_and_the_stages_go_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(project(tmp_path, RULES)), "--out", str(tmp_path / "build"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["holds"] is True
    assert stages(told.err)[:2] == ["model", "calibrate"]


@pytest.mark.slow
def test_verification_is_shown_before_the_evaluation_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    carry_out = evaluating.evaluations

    def watched(*words: object) -> object:
        seen.append(capsys.readouterr().out)
        return carry_out(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluating, "evaluations", watched)
    assert main(["compile", str(project(tmp_path, RULES)), "--out", str(tmp_path / "build")]) == 0
    assert [stage for stage in stages(seen[0]) if stage != "lock"] == [
        *("model", "calibrate", "rewrite", "ort", "verify", "outputs")
    ]
    assert "evaluate" in stages(capsys.readouterr().out)


TWICE = """data other from npz "calib.npz" { take 3 }
evaluate fidelity on calib { measure sqnr }
evaluate fidelity on other { measure sqnr; profile latency { runs 2; warmup 0 }; require sqnr >= 300 dB }
"""


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["compile", "evaluate"])
def test_each_evaluation_is_shown_before_the_next_begins(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = str(project(tmp_path, TWICE)), str(tmp_path / "build")
    if verb == "evaluate":
        assert main(["compile", recipe, "--out", out, "--no-measure"]) == 0
    capsys.readouterr()
    seen: list[str] = []
    carry_out = evaluating.evaluate

    def watched(*words: object) -> object:
        seen.append(capsys.readouterr().out)
        return carry_out(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluating, "evaluate", watched)
    assert main([verb, recipe, "--out", out]) == 4
    rest = "".join([*seen[2:], capsys.readouterr().out])
    assert "evaluate   fidelity on calib" in seen[1] and "on other" not in seen[1]
    assert stages(rest)[0] == "evaluate" and "fidelity on other, 3 samples" in rest and "on calib" not in rest


@pytest.mark.slow
def test_budgets_are_shown_before_cures_are_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watched(*words: object) -> list[object]:
        seen.append(capsys.readouterr().out)
        return []

    monkeypatch.setattr(advice, "advice", watched)
    assert main(["compile", str(project(tmp_path, TWICE)), "--out", str(tmp_path / "build")]) == 4
    assert "BROKEN" in seen[0] and "report" not in stages(seen[0])


@pytest.mark.slow
def test_a_reader_behind_a_pipe_sees_lines_at_once(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "qdsl", "compile", str(project(tmp_path, RULES)), "--out", str(tmp_path / "build")]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment()
    ) as process:
        assert process.stdout is not None
        first, at = process.stdout.readline(), time.monotonic()
        rest = process.stdout.read()
        later = time.monotonic() - at
    assert first.startswith("model ") and "report " in rest
    assert later > 0.05, "the first line came before the work was done"
