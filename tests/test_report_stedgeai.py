"""Reports of ST Edge AI Core taken into a build: kept, shown, and deciding nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from compile_tools import HEAD, project
from report_tools import read
from st_reports import VALIDATE_8, buffer, c_info

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.harness import st_reports

REAL = Path(__file__).parent / "data" / "stedgeai"
# What the C here holds, and the figures of ST would break.
BUDGETS = "require flash <= 16 KiB; require ram <= 16 KiB; require latency <= 1 ms"


def compiled(folder: Path, target: str) -> Path:
    head = HEAD.replace("uint8", "int8").replace("target ort", target)
    return qdsl.compile(project(folder, head=head), out=folder / "build", lock=False).directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")  # neither a compiler nor an emulator: nothing here decides flash and RAM
        return compiled(tmp_path_factory.mktemp("made"), f"target stm32 {{ {BUDGETS} }}")


@pytest.fixture
def build(made: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "build" / "demo"))


def test_the_folder_that_the_tool_wrote_is_taken_in_and_decides_nothing(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [budget.verdict for budget in qdsl.report(build).builds[0].builds[0].budgets]
    assert main(["report", str(build), "--add", str(REAL)]) == 0
    told = capsys.readouterr().out
    assert "ST Edge AI Core 4.0.0, stm32n6" in told and "492,504 bytes of weights" in told
    assert "15,657,686 MACC" in told and "7 of 7 nodes in integers, 0 in floats" in told
    (path,) = (build / "imported").iterdir()
    assert path.name.startswith("stm32-stedgeai-4.0.0-")
    later = qdsl.report(build)
    ((found,),) = later.st_reports
    assert st_reports.read(path) == found and not found.checked
    assert set(found.files) == {"network_c_info.json", "network_generate_report.txt"}
    assert [budget.verdict for budget in later.builds[0].builds[0].budgets] == before
    page = read(later.path)
    assert "Imported: figures of ST's tool" in page.shown and "They decide no budget" in page.shown
    assert "forward_lite_conv2d_deep_sssa8_ch" in page.shown and "sa/sa per tensor" in page.shown
    assert "no two buffers in use lie over each other (4 buffers" in page.shown


def test_the_model_is_known_again_by_its_hash(build: Path, tmp_path: Path) -> None:
    given = (build / "stm32" / "stedgeai" / "model.onnx").read_bytes()
    text = VALIDATE_8.replace("0123456789abcdef0123456789abcdef", hashlib.md5(given).hexdigest())
    path = tmp_path / "network_validate_report.txt"
    path.write_text(text, encoding="utf-8")
    result = qdsl.report(build, add=[path])
    ((found,),) = result.st_reports
    assert found.checked and found.told.flash == 103_925
    shown = read(result.path).shown
    assert "the file beside the artifact, by its hash" in shown and "1.50 ms, STM32H7A3 @280/280MHz" in shown
    assert "What its validation measured, 10 samples" in shown and "90.00 %" in shown


def test_all_of_it_stands_in_the_json(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(build), "--add", str(REAL), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["builds"][0]["st_reports"]
    assert said["name"] == "ST Edge AI Core 4.0.0, stm32n6" and said["told"]["weights"] == 492_504
    assert said["told"]["nodes"][2]["runs"] == "integer" and said["told"]["overlaps"] == []


def test_buffers_that_meet_are_a_warning(build: Path, tmp_path: Path) -> None:
    path = tmp_path / "network_c_info.json"
    path.write_text(json.dumps(c_info([buffer(1, 0, 100, 0, 5), buffer(3, 90, 20, 4, 6)])), encoding="utf-8")
    result = qdsl.report(build, add=[path])
    assert [each.code for each in result.diagnostics] == ["st-overlap"]
    assert "share 10 bytes in epochs 4 to 5" in result.diagnostics[0].headline
    assert "is not sound" in read(result.path).shown and "power, as it tells it: cpu.uJ" in read(result.path).shown


def refused(build: Path, *paths: Path) -> tuple[str, str]:
    with pytest.raises(QdslError) as raised:
        qdsl.report(build, add=list(paths))
    found = raised.value.diagnostics[0]
    assert not (build / "imported").exists()
    return found.code, f"{found.headline} {found.label}"


def test_what_cannot_be_taken_in_is_told(build: Path, tmp_path: Path) -> None:
    other = tmp_path / "other_validate_report.txt"
    other.write_text(VALIDATE_8, encoding="utf-8")
    code, told = refused(build, REAL, other)
    assert code == "st-files" and "the version is 4.0.0 and 8.1.0" in told
    other.write_text(VALIDATE_8.replace(": 4,013", ": many"), encoding="utf-8")
    code, told = refused(build, other)
    assert code == "measurements-file" and "line 17: expected a number of `macc`" in told
    facts = json.loads((build / "measurements.json").read_text(encoding="utf-8"))
    facts["builds"] = {"ort": {**facts["builds"]["stm32"], "target": "ort"}}
    (build / "measurements.json").write_text(json.dumps(facts), encoding="utf-8")
    (build / "plan.json").unlink()
    code, told = refused(build, REAL)
    assert code == "st-files" and "the build has no target `stm32`" in told


def test_of_another_artifact_it_is_left_out(build: Path) -> None:
    qdsl.report(build, add=[REAL])
    (path,) = (build / "imported").iterdir()
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**kept, "model_sha256": "0" * 64}), encoding="utf-8")
    (build / "imported" / "cut.json").write_text(path.read_text(encoding="utf-8")[:500], encoding="utf-8")
    result = qdsl.report(build)
    assert [each.code for each in result.diagnostics] == ["device-left-out"] * 2 and result.st_reports == ((),)


def test_a_dynamic_build_has_no_file_for_the_tool_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    head = 'recipe demo\nmodel onnx "demo.onnx"\nquantize dynamic { weights 8 bit }\ntarget stm32\n\n'
    result = qdsl.compile(project(tmp_path, head=head), out=tmp_path / "build", lock=False)
    folder = result.directory / "stm32"
    told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["stedgeai"]
    assert told["model"] is None and {each["rule"] for each in told["refused"]} == {"st_operator"}
    assert [path.name for path in (folder / "stedgeai").iterdir()] == ["README.md"]
    assert "DynamicQuantizeLinear" in (folder / "stedgeai" / "README.md").read_text(encoding="utf-8")
    assert (folder / "c" / "network.c").is_file()
