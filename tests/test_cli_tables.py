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


@pytest.mark.slow
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


PROFILE = (
    ["", "p50", "p90", "p99", "mean", "per second", "cpu", "memory", "speed-up"],
    [
        ["float", "1234.56 ms", "1266.89 ms", "1388.57 ms", "1257.81 ms", "17.3", "196%", "170.48 MiB", ""],
        ["ort", "123.66 ms", "125.93 ms", "141.09 ms", "123.41 ms", "42.7", "194%", "131.28 MiB", "2.64x"],
    ],
)
EVALUATION = (
    ["", "float", "ort", "tensorrt", "95 % interval"],
    [["map50_95", "0.5578", "0.5587", "0.5501", "drop -0.10 pp [-0.59, 0.36]   drop 0.77 pp [0.12, 1.36]"]],
)
VERDICTS = (
    ["", "verdict"],
    [["map50_95 drop <= 1 pp", "-0.10 pp [-0.59, 0.36]   holds, 110 % to spare (measured, 150 samples of val)"]],
)


@pytest.mark.parametrize("table", [PROFILE, EVALUATION, VERDICTS], ids=["profile", "evaluation", "verdicts"])
@pytest.mark.parametrize("width", [30, 40, 60, 79, 80, 100, 160])
def test_no_figure_is_cut_at_any_width(
    table: tuple[list[str], list[list[str]]],
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    output.print_table("title", *table)
    shown = capsys.readouterr().out
    assert "\u2026" not in shown
    for row in table[1]:
        for cell in row:
            words = [cell] if len(cell) <= 16 else cell.split()
            assert all(word in shown for word in words), f"{cell} at {width} columns"
    if width >= 60:
        assert max(len(line.rstrip()) for line in shown.splitlines()) <= width


def test_a_wide_terminal_has_a_row_per_build_and_a_narrow_one_a_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {}
    for width in (80, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        output.print_table("title", *PROFILE)
        shown = capsys.readouterr().out
        rows[width] = [line.split() for line in shown.splitlines()]
    assert ["float", *" ".join(PROFILE[1][0][1:]).split()] in rows[160]
    assert ["float", "ort"] in rows[80]
    assert ["p99", "1388.57", "ms", "141.09", "ms"] in rows[80]
    assert ["speed-up", "2.64x"] in rows[80]


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 160])
def test_the_latencies_of_a_real_run_are_whole(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "draws_tables", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    shown = told(tmp_path, capsys)
    lines = shown[shown.index("in turns") :].splitlines()
    figures = re.findall(r"[\d.]+ (?:ms|KiB|MiB)", "\n".join(lines[: 20 if width == 80 else 8]))
    assert len([f for f in figures if f.endswith("ms")]) >= 8, "four latencies of two models"
    assert "\u2026" not in shown
