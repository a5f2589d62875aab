"""What `compile` shows of what it measured: tables on a terminal, plain lines elsewhere, the same figures in both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from compile_tools import project

from qdsl.cli import main, output

RULES = """evaluate fidelity on calib {
  measure sqnr, cosine
  profile latency { runs 3; warmup 1 }
  require sqnr >= 3 dB
  require memory <= 1 KiB
}
"""


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["compile", str(project(folder, RULES)), "--out", str(folder / "build")]) == 4
    return capsys.readouterr().out


def test_a_terminal_gets_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    plain = told(tmp_path / "a", capsys)
    monkeypatch.setattr(output, "draws_tables", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "b").mkdir()
    drawn = told(tmp_path / "b", capsys)
    assert "─" not in plain and drawn.count("─") > 60
    for words in ("fidelity on calib, 6 samples", "3 runs each, in turns", "sqnr >= 3 dB", "BROKEN", "holds", "p90"):
        assert words in plain and words in drawn, words
    sqnr = re.search(r"sqnr +(inf|[\d.]+) +([\d.]+)", plain)
    assert sqnr is not None and sqnr[2] in drawn


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table("[red]t[/red]", ["", "x"], [["[bold]a\x1b[31m", "1"]], ["green"])
    shown = capsys.readouterr().out
    assert "[red]t[/red]" in shown and "[bold]a" in shown and "\x1b" not in shown
