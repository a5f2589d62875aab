"""`qdsl check` and `qdsl fmt` from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from qdsl.cli import main
from qdsl.lang import loads

GOOD = "recipe good\nquantize float\n"


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_check_says_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "good.q", GOOD)
    assert main(["check", path]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == (f"{path}: fine\n", "")


def test_check_reports_every_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one.q", "recipe two\nkeep all in float31\n")
    two = write(tmp_path / "good.q", GOOD)
    assert main(["check", one, two, str(tmp_path / "none.q")]) == 1
    out, err = capsys.readouterr()
    assert out == f"{two}: fine\n"
    assert "error[name-mismatch]" in err and "error[unknown-type]" in err and "error[file-missing]" in err
    assert "2 | keep all in float31" in err


def test_check_asks_for_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "files.q", 'recipe files\nmodel onnx "m.onnx"\n')
    assert main(["check", path]) == 1
    assert "error[model-missing]" in capsys.readouterr().err
    assert main(["check", "--no-files", path]) == 0


def test_check_takes_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "set.q", "recipe set\nparam bits = int8 from [int8, int4]\n")
    assert main(["check", path, "--set", "bits=int4"]) == 0
    assert main(["check", path, "--set", "bits=int2"]) == 1
    assert main(["check", path, "--set", "bits"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_check_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "bad.q", "recipe bad\nkeep al in float32\n")
    assert main(["check", "--json", path]) == 1
    (found,) = json.loads(capsys.readouterr().out)["recipes"][path]
    assert found["code"] == "unknown-selector"
    assert found["span"] == {"file": path, "line": 2, "column": 6, "end_line": 2, "end_column": 8}


def test_fmt_rewrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ugly.q"
    write(path, "recipe   ugly\nquantize float{weights float16}")
    path.chmod(0o640)
    assert main(["fmt", "--check", str(path)]) == 1
    assert capsys.readouterr().out == f"{path}: would change\n"
    assert path.read_text() == "recipe   ugly\nquantize float{weights float16}"
    assert main(["fmt", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: formatted\n"
    assert path.read_text() == "recipe ugly\nquantize float { weights float16 }\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert main(["fmt", "--check", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert [entry.name for entry in tmp_path.iterdir()] == ["ugly.q"]


def test_fmt_leaves_files_with_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "recipe   bad\nkeep all in\n"
    bad, ugly = tmp_path / "bad.q", tmp_path / "ugly.q"
    write(bad, text)
    write(ugly, "recipe   ugly")
    assert main(["fmt", str(bad), str(ugly), str(tmp_path)]) == 1
    assert bad.read_text() == text and ugly.read_text() == "recipe ugly\n"
    err = capsys.readouterr().err
    assert "error[unfinished-statement]" in err and "error[file-unreadable]" in err


def test_fmt_drops_a_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    path = tmp_path / "bom.q"
    path.write_bytes("\ufeffrecipe bom\r\n".encode())
    assert main(["fmt", str(path)]) == 0
    assert path.read_bytes() == b"recipe bom\n"


def test_fmt_follows_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "a.q", tmp_path / "a.q"
    write(real, "recipe   a")
    link.symlink_to(real)
    assert main(["fmt", str(link)]) == 0
    assert link.is_symlink() and real.read_text() == "recipe a\n"


def test_fmt_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "example.q"
    write(path, "recipe   example\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "fsync", refuse)
    assert main(["fmt", str(path)]) == 1
    assert "error[file-unwritable]" in capsys.readouterr().err
    assert path.read_text() == "recipe   example\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["example.q"]


def test_fmt_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.q", "recipe   a")
    assert main(["fmt", "--json", path]) == 0
    assert json.loads(capsys.readouterr().out) == {"recipes": {path: "changed"}, "diagnostics": []}


def test_the_library_takes_texts() -> None:
    assert loads(GOOD).recipe.name == "good"
