"""What `allocate` needs beside the packages that are always there is told at its place, before any sample is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.diag import QdslError
from qdsl.steps import ranging

BOTH = """allocate activations from [8 bit, 4 bit] {
  minimize loss under activation_bits <= 7,
    bops ratio <= 5 %
}
"""
SCORED = """allocate weights from [int8, int4 storage_only] {{
  sensitivity {} on calib
  minimize loss under size <= 9 KB
}}
"""
CASES = [
    ("scipy", BOTH, "allocate-bound", 3, "search"),
    ("torch", SCORED.format("gradient"), "torch-absent", 2, "train"),
    ("torch", SCORED.format("hessian"), "torch-absent", 2, "train"),
]


@pytest.mark.parametrize(("package", "text", "code", "line", "extra"), CASES)
def test_an_absent_package_is_told_before_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, text: str, code: str, line: int, extra: str
) -> None:
    recipe = project(tmp_path, text)
    monkeypatch.setattr(ranging, "measure", lambda *args, **more: pytest.fail("samples were read"))
    monkeypatch.setitem(sys.modules, package, None)
    for verb in (qdsl.plan, lambda path: qdsl.compile(path, out=tmp_path / "build", measure=False)):
        with pytest.raises(QdslError) as caught:
            verb(recipe)
        (found,) = caught.value.diagnostics
        assert found.code == code and found.span is not None
        assert found.span.line == len(HEAD.splitlines()) + line
        assert package in found.headline and f"[{extra}]" in found.help[0]


@pytest.mark.parametrize("rule", ["allocate weights from [int8, int4 storage_only]", "improve { round adaptive }"])
def test_what_needs_none_of_them_builds_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    recipe = project(tmp_path, f"{rule}\n")
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert qdsl.compile(recipe, out=tmp_path / "build", measure=False).holds


@pytest.mark.slow
@pytest.mark.parametrize(("package", "text"), [(package, text) for package, text, *_ in CASES[:2]])
def test_a_build_from_a_lock_needs_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, text: str
) -> None:
    pytest.importorskip(package)
    recipe = project(tmp_path, text)
    qdsl.compile(recipe, out=tmp_path / "build", measure=False)
    before = (tmp_path / "build/demo/ort/model.onnx").read_bytes()
    monkeypatch.setitem(sys.modules, package, None)
    assert qdsl.plan(recipe).lock is not None
    assert qdsl.compile(recipe, out=tmp_path / "again", measure=False, locked=True).from_lock
    assert (tmp_path / "again/demo/ort/model.onnx").read_bytes() == before
