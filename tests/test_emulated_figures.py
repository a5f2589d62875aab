"""What emitted C did on an emulated core: shown, written down, read back, deciding budgets.

The figures are made up, and put into the verification of an artifact that has no C."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compile_tools import HEAD, project
from report_tools import read

import qdsl
from qdsl.cli import main
from qdsl.harness import reading
from qdsl.spec.emulated import Emulated, EmulatedStep
from qdsl.targets.ort import verify as verifying

FIGURES = Emulated(
    label="emulated Cortex-M7 (QEMU mps2-an500), instructions, not cycles",
    compiler="arm-none-eabi-gcc 12.2.1, QEMU 7.2.22",
    flash=235_172,
    ram=201_712,
    stack=424,
    instructions=98_700_000,
    macs=40_774_784,
    samples=20,
    outputs=40,
    exact=39,
    apart=2e-7,
    steps=(EmulatedStep(("conv", "relu"), 96_000_000, 40_000_000), EmulatedStep(("pool",), 83_020, 0)),
)
BUDGETS = "require flash <= 229 KiB; require ram <= 202136 B; require instructions <= 98699999"


def seen(monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    verify = verifying.verify
    monkeypatch.setattr(verifying, "verify", lambda *given, **named: replace(verify(*given, **named), **more))


def recipe(folder: Path) -> Path:
    head = HEAD.replace("target ort", f"target ort {{ {BUDGETS} }}")
    return project(folder, "evaluate fidelity on calib\n", head=head)


def test_figures_decide_budgets_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAM is what the linker says and the stack that was measured: bounds here are the figures themselves, but for
    flash, which is 676 bytes more, and instructions, one more."""
    seen(monkeypatch, emulated=FIGURES, macc=41_091_156)
    result = qdsl.compile(recipe(tmp_path), out=tmp_path / "build", lock=False)
    budgets = {each.metric: each for each in result.targets[0].budgets}
    assert {name: each.verdict for name, each in budgets.items()} == {
        "flash": "broken",
        "ram": "holds",
        "instructions": "broken",
    }
    assert "by the linker" in budgets["ram"].source and "424 bytes of it stack" in budgets["ram"].source
    assert "emulated Cortex-M7" in budgets["instructions"].source
    known = reading.read(result.directory / "measurements.json")
    assert known.builds[0].emulated == FIGURES and known.builds[0].macc == 41_091_156
    (later,) = qdsl.report(result.directory).builds[0].builds
    assert [each.verdict for each in later.budgets] == ["broken", "holds", "broken"]
    page = read(result.report)
    text = " ".join(text for _, text in page.texts)
    for told in (
        "39 of 40 values of 20 samples",
        "within 2e-07",
        "235,172 bytes",
        "2.42 per multiplication",
        "83,020",
        "41,091,156",
    ):
        assert told in text, told
    assert not page.wrong and FIGURES.label in text
    assert "98.7 M" in text and "424 bytes of it stack" in text


def test_a_build_that_is_measured_again_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen(monkeypatch, emulated=FIGURES, macc=41_091_156)
    path = recipe(tmp_path)
    assert main(["compile", str(path), "--out", str(tmp_path / "build"), "--no-lock"]) == 4
    told = capsys.readouterr().out
    assert "   98,700,000   BROKEN" in told
    assert (
        "39 of 40 values" in told
        and "41,091,156 MACC" in told
        and "98,700,000 instructions per inference, 2.42 per multiplication" in told
    )
    monkeypatch.undo()
    again = qdsl.evaluate(path, out=tmp_path / "build")
    assert [each.verdict for each in again.budgets["ort"]] == ["broken", "holds", "broken"]


def test_what_was_not_run_decides_nothing_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen(monkeypatch, not_emulated="there is no arm-none-eabi-gcc on this machine")
    path = recipe(tmp_path)
    assert main(["compile", str(path), "--out", str(tmp_path / "build"), "--no-lock"]) == 0
    assert "NOT RUN on an emulated core: there is no arm-none-eabi-gcc" in capsys.readouterr().out
    (build,) = reading.read(tmp_path / "build" / "demo" / "measurements.json").builds
    assert [each.verdict for each in build.budgets] == ["undecided"] * 3
    assert all(each.source == "not built: there is no arm-none-eabi-gcc on this machine" for each in build.budgets)
    page = read(tmp_path / "build" / "demo" / "report.html")
    assert any("NOT RUN: there is no arm-none-eabi-gcc" in text for _, text in page.texts)


def test_builds_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, emulated=FIGURES)
    one = qdsl.compile(recipe(tmp_path / "one"), out=tmp_path / "one" / "build", lock=False).directory
    monkeypatch.undo()
    seen(monkeypatch, emulated=replace(FIGURES, flash=99_999, exact=40))
    two = qdsl.compile(recipe(tmp_path / "two"), out=tmp_path / "two" / "build", lock=False).directory
    page = read(qdsl.report(one, two, out=tmp_path / "report.html").path)
    text = " ".join(text for _, text in page.texts)
    assert not page.wrong
    for told in ("On an emulated core", "235,172 B", "99,999 B", "39 of 40", "40 of 40"):
        assert told in text, told
