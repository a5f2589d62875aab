"""An audit with what an engine of the file was seen to compute, by layers that were brought back (SYNTHETIC ones)."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from engine_dumps import QAT, REAL, Plain, asked
from test_report_engines import compiled, layers

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.finished.reading import read
from qdsl.graph import load
from qdsl.harness.inspecting import expected


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("made"))


def written(folder: Path, content: Plain | str) -> Path:
    path = folder / "layers.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def engine(result: qdsl.api.AuditResult) -> dict[str, str]:
    """Verdicts by node."""
    (section,) = result.report.sections
    assert section.engine is not None
    return {name: each.verdict for name, each in section.engine.verdicts.items()}


def rules(result: qdsl.api.AuditResult) -> list[tuple[str, str]]:
    found = [each for each in result.report.findings if each.rule.startswith("engine_")]
    return [(each.rule, each.place.name) for each in found]


def test_what_a_file_has_in_integers_is_what_an_engine_has_to_compute_in(made: Path) -> None:
    """The same as the manifest of its plan says."""
    found = expected(read(load(made / "tensorrt" / "model.onnx")))
    manifest = json.loads((made / "tensorrt" / "quant_manifest.json").read_text())
    planned = [asked(each["node"], each["op"], each["expect"]) for each in manifest["nodes"]]
    assert [(each.node, each.op, each.expect) for each in found.nodes] == [
        (each.node, each.op, each.expect) for each in planned
    ]
    assert list(found.boundary) == manifest["boundary"]


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_dropped_node_is_a_finding(made: Path, tmp_path: Path, with_manifest: bool) -> None:
    model, manifest = made / "tensorrt" / "model.onnx", made / "tensorrt" / "quant_manifest.json"
    path = written(tmp_path, layers(made, floats="left"))
    result = qdsl.audit(model, engine=path, manifest=manifest if with_manifest else None)
    names = ["stem", "inner", "left", "right", "gemm"]
    assert engine(result) == {name: "DROPPED" if name == "left" else "INT8" for name in names}
    assert rules(result) == [("engine_dropped", "left")]
    (found,) = [each for each in result.report.findings if each.rule == "engine_dropped"]
    assert found.why == "an engine of TensorRT, by layers.json (10.x form)"


def test_an_unknown_node_is_a_finding_and_the_words_are_told(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, layers(made, absent="left"))
    assert main(["audit", str(made / "tensorrt" / "model.onnx"), "--engine", str(path), "--fail-on", "warning"]) == 1
    told = capsys.readouterr().out
    assert "engine     an engine of TensorRT, by layers.json (10.x form)" in told
    assert "3 of 4 Conv INT8, 1 UNKNOWN" in told and "engine_unknown" in told


def test_a_node_without_a_name_is_known_by_what_it_writes(made: Path, tmp_path: Path) -> None:
    proto = onnx.load(made / "tensorrt" / "model.onnx")
    (node,) = [each for each in proto.graph.node if each.name == "inner"]
    node.name = ""
    onnx.save(proto, tmp_path / "model.onnx")
    content = json.dumps(layers(made, floats="inner")).replace(
        "ONNX Layer: inner", f"ONNX Layer: node_of_{node.output[0]}"
    )
    result = qdsl.audit(tmp_path / "model.onnx", engine=written(tmp_path, content))
    assert sorted(engine(result).values()) == ["DROPPED", "INT8", "INT8", "INT8", "INT8"]
    assert [rule for rule, _ in rules(result)] == ["engine_dropped"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            (REAL / f"{QAT}.graph.json").read_text(),
            "another model: its layers name 0 of the 5 planned nodes of `model.onnx`",
        ),
        ('{"Layers": ["a"]}', "names of layers alone"),
        ("", "it is empty"),
    ],
)
def test_what_says_nothing_is_refused(made: Path, tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.audit(made / "tensorrt" / "model.onnx", engine=written(tmp_path, content))
    (found,) = caught.value.diagnostics
    assert found.code == "engine-layers" and words in str(found.label) and found.help


def test_the_manifest_of_another_file_is_refused(made: Path, tmp_path: Path) -> None:
    manifest = json.loads((made / "tensorrt" / "quant_manifest.json").read_text())
    other = tmp_path / "quant_manifest.json"
    other.write_text(json.dumps({**manifest, "sha256": "0" * 64}))
    for text in (None, "{}", "not JSON"):
        if text is not None:
            other.write_text(text)
        with pytest.raises(QdslError, match="does not say what an engine of the model has to compute") as caught:
            qdsl.audit(made / "tensorrt" / "model.onnx", engine=written(tmp_path, layers(made)), manifest=other)
        assert [each.partition(" that")[0] for each in caught.value.diagnostics[0].help] == [
            "give the quant_manifest.json"
        ]


def test_wrong_uses_are_told(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = str(made / "tensorrt" / "model.onnx"), str(written(tmp_path, layers(made)))
    assert main(["audit", model, "--manifest", path]) == 2
    assert "`--manifest` says what the engine" in capsys.readouterr().err
    assert main(["audit", model, "--engine", path, "--fix", str(tmp_path / "fixed.onnx")]) == 1
    assert "says nothing of a mended copy" in capsys.readouterr().err and not (tmp_path / "fixed.onnx").exists()
