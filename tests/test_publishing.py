"""What stands in the build folder runs: an artifact is put in its place once verified, and nothing else stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from compile_tools import project

import qdsl
from qdsl.diag import Diagnostic, QdslError
from qdsl.measure import comparing


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the runtime refused what was emitted."""

    def refused(*words: object) -> None:
        raise QdslError([Diagnostic("artifact-refused", "ONNX Runtime refuses the quantized model")])

    monkeypatch.setattr(comparing, "verified", refused)


def test_a_refused_artifact_never_stands_in_the_build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = project(tmp_path)
    refuse(monkeypatch)
    with pytest.raises(QdslError, match="artifact-refused"):
        qdsl.compile(recipe, out=tmp_path / "build")
    assert not list((tmp_path / "build").rglob("*.onnx")) if (tmp_path / "build").exists() else True
    assert not list(tmp_path.rglob(".emit-*")) and not list(tmp_path.rglob("*.tmp"))
    assert not (tmp_path / "build" / "demo" / "ort").exists()


def test_a_refused_artifact_leaves_the_build_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = project(tmp_path)
    qdsl.compile(recipe, out=tmp_path / "build", lock=False)
    before = files(tmp_path / "build")
    recipe.write_text(recipe.read_text() + "keep op Gemm in float32\n")
    refuse(monkeypatch)
    with pytest.raises(QdslError, match="artifact-refused"):
        qdsl.compile(recipe, out=tmp_path / "build", lock=False)
    assert files(tmp_path / "build") == before


@pytest.mark.slow
def test_a_build_leaves_nothing_beside_itself(tmp_path: Path) -> None:
    recipe = project(tmp_path, "evaluate fidelity on calib { require sqnr >= 200 dB }\n")
    result = qdsl.compile(recipe, out=tmp_path / "build")
    target = result.targets[0].emitted
    assert target.directory == tmp_path / "build" / "demo" / "ort"
    assert target.model.is_file() and target.manifest.is_file()
    assert not [name for name in files(tmp_path / "build") if Path(name).name.startswith(".") or "/." in name]
