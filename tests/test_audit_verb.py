"""`qdsl audit`: what it says of a file, which findings make it fail, and what a recipe lets stand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from foreign_files import integer_conv, integer_matmul
from onnx import TensorProto
from structure_graphs import Net

import qdsl.api
from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.cli import main
from qdsl.diag import QdslError, Severity

CODES = np.ones((4, 3, 1, 1), np.int8)


class Planted:
    """A rule that finds what a test says."""

    id: ClassVar[str] = "half_quantized_op"
    summary: ClassVar[str] = "planted by a test"
    explanation: ClassVar[str] = "planted by a test"
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *found: Finding) -> None:
        self.found = found

    def check(self, audited: Audited) -> Iterator[Finding]:
        yield from self.found


def finding(name: str, severity: Severity = Severity.ERROR, kind: str = "node", **more: Any) -> Finding:
    return Finding(Planted.id, severity, Place(kind, name), f"`{name}` is as planted", "it is planted", **more)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def planted(*found: Finding) -> None:
        rule = Planted(*found)
        monkeypatch.setattr("qdsl.auditing.auditing.rules", lambda target: iter([rule]))
        monkeypatch.setattr("qdsl.auditing.auditing.rule_named", lambda name: rule)

    return planted


@pytest.fixture
def foreign(tmp_path: Path, plant: Callable[..., None]) -> Path:
    plant()
    path = tmp_path / "foreign.onnx"
    path.write_bytes(integer_conv(CODES).SerializeToString())
    return path


def recipe(folder: Path, *lines: str) -> str:
    path = folder / "waivers.q"
    path.write_text("\n".join(["recipe waivers", 'model onnx "foreign.onnx"', "quantize none", *lines, ""]))
    return str(path)


def test_the_report_says_what_a_file_holds(foreign: Path) -> None:
    report = qdsl.api.audit(foreign).report
    assert [(t.tensor, t.role, t.element, t.granularity) for t in report.tensors] == [
        ("x", "activation", "uint8", "per_tensor"),
        ("wd", "weight", "int8", "per_tensor"),
        ("c", "activation", "uint8", "per_tensor"),
    ]
    assert report.tensors[0].group == report.tensors[2].group
    assert (report.tensors[0].scale_low, report.tensors[0].zero_high) == (pytest.approx(0.02), 128)
    assert [(node.name, node.op, node.macs) for node in report.nodes] == [("conv", "Conv", 4 * 3 * 64)]
    (section,) = report.sections
    assert section.runs["conv"].kernel == "QLinearConv" and not section.floats
    assert (section.counts.integer_macs, section.counts.macs) == (768, 768)


def test_integer_operators_are_read_as_pairs_are(tmp_path: Path) -> None:
    (tmp_path / "dynamic.onnx").write_bytes(integer_matmul(np.ones((3, 4), np.int8)).SerializeToString())
    report = qdsl.api.audit(tmp_path / "dynamic.onnx").report
    assert report.sections[0].runs["matmul"].runs == "integer"


def test_the_terminal_tells_results_first(
    foreign: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    fix = Fix(lines=('keep "conv" in float32',))
    plant(finding("conv", Severity.NOTE), finding("conv", Severity.ERROR, fix=fix))
    assert main(["audit", str(foreign)]) == 1
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith("model      foreign.onnx   1 node without Q and DQ")
    assert "ort        1 of 1 Conv in integers (100 % of the MACs), as predicted" in lines
    assert "findings   1 error, 1 note" in lines
    assert out.index("error[half_quantized_op]") < out.index("note[half_quantized_op]")
    assert '  fix: keep "conv" in float32' in lines


def test_many_findings_of_one_rule_are_counted_in_words_and_whole_as_data(
    foreign: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plant(*(finding(f"node{number}") for number in range(15)))
    assert main(["audit", str(foreign)]) == 1
    out = capsys.readouterr().out
    assert "error[half_quantized_op] (15)" in out and "and 12 more" in out and "node3" not in out
    assert main(["audit", str(foreign), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert len(document["targets"]["ort"]["findings"]) == 15
    assert document["rules"] == {"half_quantized_op": "planted by a test"}
    assert document["tensors"][0]["readers"] == [{"node": "conv", "port": 0}]


def test_a_float_model_is_said_to_be_one(
    tmp_path: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plant()
    net = Net()
    proto = net.model(net.conv(net.input("x", 1, 3, 8, 8), 4, name="conv"))
    (tmp_path / "float.onnx").write_bytes(proto.SerializeToString())
    assert main(["audit", str(tmp_path / "float.onnx")]) == 0
    assert "quantized  nothing: no tensor of the file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stands", "level", "code"),
    [
        (Severity.ERROR, "error", 1),
        (Severity.WARNING, "error", 0),
        (Severity.WARNING, "warning", 1),
        (Severity.NOTE, "warning", 0),
        (Severity.NOTE, "note", 1),
        (Severity.ERROR, "never", 0),
    ],
)
def test_the_exit_code_follows_the_level(
    stands: Severity, level: str, code: int, foreign: Path, plant: Callable[..., None]
) -> None:
    plant(finding("conv", stands))
    assert main(["audit", str(foreign), "--fail-on", level]) == code


# ---- waivers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "picks"),
    [
        (("conv", "node"), "op Conv"),
        (("c", "tensor"), '"conv"'),
        (("c", "tensor"), 'tensor "c"'),
        (("wd", "tensor"), '"conv"'),  # a constant belongs to what reads it
        (("node0", "node"), '"node0"'),  # a QuantizeLinear by its own name
        (("node4", "node"), '"conv"'),  # the QuantizeLinear after it
        (("", "file"), "all"),
    ],
)
def test_a_waiver_covers_what_it_picks(
    place: tuple[str, str], picks: str, foreign: Path, plant: Callable[..., None]
) -> None:
    plant(finding(place[0], kind=place[1]))
    result = qdsl.api.audit(
        foreign, recipe=recipe(foreign.parent, f'allow half_quantized_op on {picks} because "it is meant"')
    )
    (section,) = result.report.sections
    assert [found.waived for found in section.findings] == ["it is meant"] and not section.standing
    assert [(w.on, w.used) for w in section.waivers] == [(picks, 1)]
    assert not result.diagnostics and not result.fails(Severity.NOTE)


def test_a_waiver_leaves_other_places_and_rules_alone(foreign: Path, plant: Callable[..., None]) -> None:
    plant(finding("conv"), finding("", kind="file"))
    held = recipe(foreign.parent, 'allow half_quantized_op on tensor "x" because "no"')
    result = qdsl.api.audit(foreign, recipe=held)
    assert len(result.report.sections[0].standing) == 2 and result.fails(Severity.ERROR)
    held = recipe(foreign.parent, 'allow shared_range on op Conv because "no"')
    assert len(qdsl.api.audit(foreign, recipe=held).report.sections[0].standing) == 2


def test_a_waiver_without_a_finding_is_an_error_at_its_line(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = recipe(foreign.parent, 'allow half_quantized_op on op Conv because "gone"')
    assert main(["audit", str(foreign), "--recipe", held, "--fail-on", "never"]) == 1
    shown = capsys.readouterr()
    assert "findings   none" in shown.out, "the results are told all the same"
    assert "error[waiver-unused]" in shown.err and "waivers.q:4:1" in shown.err


def test_a_waiver_on_nothing_is_told_as_any_selector(foreign: Path, plant: Callable[..., None]) -> None:
    plant(finding("conv"))
    held = recipe(foreign.parent, 'allow half_quantized_op on "covn" because "no"')
    told = {each.code for each in qdsl.api.audit(foreign, recipe=held).diagnostics}
    assert told == {"selector-empty", "waiver-unused"}


def test_a_waiver_of_an_unknown_rule_names_the_nearest(foreign: Path) -> None:
    held = recipe(foreign.parent, 'allow half_quantised_op on op Conv because "no"')
    with pytest.raises(QdslError) as caught:
        qdsl.api.audit(foreign, recipe=held)
    (found,) = caught.value.diagnostics
    assert found.code == "unknown-finding" and found.span is not None and found.span.line == 4
    assert "half_quantized_op" in found.help[0]


def test_the_words_of_a_target_hold_for_it_alone(foreign: Path, plant: Callable[..., None]) -> None:
    plant(finding("conv"))
    held = recipe(foreign.parent, 'target ort { allow half_quantized_op on op Conv because "here" }')
    assert qdsl.api.audit(foreign, recipe=held).report.sections[0].findings[0].waived == "here"


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_wrong_input_is_told_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = integer_conv(CODES).SerializeToString()
    (tmp_path / "whole.onnx").write_bytes(whole)
    for name, data, told in (
        ("cut.onnx", whole[: len(whole) // 2], "model-unreadable"),
        ("engine.plan", b"ftrt" + bytes(100), "a TensorRT engine"),
        ("plan.json", b'{"version": 99}', "the plan of a build"),
        ("empty.onnx", b"", "is empty"),
    ):
        (tmp_path / name).write_bytes(data)
        assert main(["audit", str(tmp_path / name)]) == 1
        assert told in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "absent.onnx")]) == 1
    told = capsys.readouterr().err
    assert "model-missing" in told and "working directory" not in told, "the nearest there are named"
    assert main(["audit", "nowhere"]) == 1
    assert "the path starts from the working directory" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "whole.onnx"), "--target", "orr"]) == 1
    assert "there is no target `orr`" in capsys.readouterr().err
    assert main(["audit"]) == 2


def test_a_target_that_there_is_not_is_told(foreign: Path) -> None:
    with pytest.raises(QdslError, match="target-absent"):
        qdsl.api.audit(foreign, target="orr")


def test_every_rule_is_listed_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from qdsl.auditing.index import RULES

    assert main(["audit", "--rules", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["rule"] for row in rows] == list(RULES)
    assert main(["audit", "--rules"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(RULES)


def test_fixes_that_differ_in_names_alone_are_one_line_to_paste(
    foreign: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f'keep "node{number}" in float32' for number in range(3)]
    plant(*(finding("conv", fix=Fix(lines=(line,))) for line in [*lines, 'place { leave tensor "c" }']))
    main(["audit", str(foreign)])
    out = capsys.readouterr().out
    assert '  fix: keep "node0", "node1", "node2" in float32\n  fix: place { leave tensor "c" }\n' in out


def test_a_rule_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "asked_and_absent"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("asked_and_absent: a decision of the recipe that the file lacks")
    assert 'allow asked_and_absent on "/a/node" because' in out
    assert main(["explain", "asked_and_absent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["severity"] == "error"


def test_names_of_a_file_do_not_steer_the_terminal(
    tmp_path: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    proto = integer_conv(CODES)
    proto.producer_name = "evil\x1b[2J"
    (tmp_path / "evil.onnx").write_bytes(proto.SerializeToString())
    plant(finding("conv\x1b[31m"))
    main(["audit", str(tmp_path / "evil.onnx")])
    assert "\x1b" not in capsys.readouterr().out


def external(path: Path, location: str, length: int, offset: int = 0) -> None:
    """A Conv whose weight lies in another file."""
    proto = integer_conv(CODES)
    (stored,) = (each for each in proto.graph.initializer if each.name == "w")
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        stored.external_data.add(key=key, value=value)
    path.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "link.bin"])
def test_nothing_outside_the_folder_is_read(location: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(12))
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    external(inside / "model.onnx", location, 12)
    assert main(["audit", str(inside / "model.onnx")]) == 1
    assert "error[model-external" in capsys.readouterr().err
    assert sorted(path.name for path in inside.iterdir()) == ["link.bin", "model.onnx"]


def test_two_gigabytes_beside_the_model_are_not_read(foreign: Path, tmp_path: Path) -> None:
    size = (2 << 30) + 12
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(size)  # a hole: nothing is written
    external(tmp_path / "large.onnx", "weights.bin", 12, offset=size - 12)
    report = qdsl.api.audit(tmp_path / "large.onnx").report
    assert report.sections[0].runs["conv"].runs == "integer" and report.bytes < 1 << 20


def test_formats_are_written_whole_beside_the_results(
    foreign: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plant(finding("conv"))
    folder = foreign.parent
    assert main(["audit", str(foreign), "--sarif", str(folder / "a.sarif"), "--junit", str(folder / "a.xml")]) == 1
    assert json.loads((folder / "a.sarif").read_text())["version"] == "2.1.0"
    assert (folder / "a.xml").read_text().startswith("<?xml")
    assert "error[half_quantized_op]" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["a.sarif", "a.xml", "foreign.onnx"]
    assert main(["audit", str(foreign), "--sarif", str(folder / "nowhere" / "a.sarif")]) == 1
    assert "internal fault" not in capsys.readouterr().err


def test_an_audit_for_stm32_says_what_runs_there(
    foreign: Path, plant: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plant(finding("conv"))
    result = qdsl.api.audit(foreign, target="stm32")
    (section,) = result.report.sections
    assert section.table == "stm32" and section.runs["conv"].runs == "integer"
    assert section.standing[0].targets == ("stm32",) and result.fails(Severity.ERROR)
    main(["audit", str(foreign), "--target", "stm32"])
    assert "1 of 1 Conv in integers" in capsys.readouterr().out


def test_every_target_of_a_recipe_has_its_section(foreign: Path, plant: Callable[..., None]) -> None:
    plant(finding("conv"))
    lines = ['target ort { allow half_quantized_op on op Conv because "here" }', "target tensorrt"]
    result = qdsl.api.audit(foreign, recipe=recipe(foreign.parent, *lines))
    assert [(s.target, len(s.standing)) for s in result.report.sections] == [("ort", 0), ("tensorrt", 1)]
    assert not result.diagnostics


def test_how_causes_are_measured_goes_with_causes(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--float", str(foreign)], ["--samples", "3"]):
        assert main(["audit", str(foreign), *words]) == 2
        assert "`--causes`" in capsys.readouterr().err
