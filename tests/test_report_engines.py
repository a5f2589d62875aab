"""What a TensorRT engine of a build was found to compute and to take, elsewhere: taken in, shown, deciding budgets.

Layers and build.json are SYNTHETIC, in the form of 10.x; times and profiles of NVIDIA's are real."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from compile_tools import HEAD, project
from engine_dumps import QAT, REAL, Plain, dump10, layer10
from report_tools import read

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.engines.brought import kind_of
from qdsl.engines.times import read_times
from qdsl.harness import engines
from qdsl.harness.inspected import asked_of
from qdsl.harness.measurements import BudgetFacts
from qdsl.spec.bounds import UnfitError
from qdsl.spec.engine_json import manifest_of
from qdsl.targets.tensorrt.scripts import verify_engine

BUDGETS = "require qdq survives; require latency <= 14 ms; require latency p99 <= 0.1 ms; require memory <= 1 GiB"
ORIN = {"tensorrt": "10.3.0", "engine": "engine.plan", "gpu": "Orin", "compute_capability": "8.7", "driver": ""}
RUN = {"startComputeMs": 0.0, "endComputeMs": 2.0, "h2dMs": 0.0, "computeMs": 2.0, "d2hMs": 0.0, "latencyMs": 2.0}


def compiled(folder: Path, budgets: str = BUDGETS) -> Path:
    head = HEAD.replace("uint8 affine", "int8 symmetric")
    block = f'target tensorrt {{ version "10.3"; device "jetson-orin-nano"; {budgets} }}'
    return qdsl.compile(
        project(folder, head=head.replace("target ort", block)), out=folder / "build", lock=False
    ).directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("made"))


@pytest.fixture
def build(made: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "build" / "demo"))


def layers(build: Path, floats: str = "", absent: str = "") -> Plain:
    """An engine in which every planned node is int8, but for one in floats and one that is left out."""
    manifest = json.loads((build / "tensorrt" / "quant_manifest.json").read_text())
    names = [each["node"] for each in manifest["nodes"]]
    found = []
    for at, name in enumerate(names):
        before, after = names[at - 1] if at else "in", name if at + 1 < len(names) else "out"
        kind = "Half" if name == floats else "Int8"
        weights = {"Type": kind, "Count": 1}
        found.append(layer10(f"{name}_myl", "CaskConvolution", {before: kind}, {after: kind}, name, Weights=weights))
    return dump10(*(each for each in found if each["Metadata"] != f"[ONNX Layer: {absent}]"))


def brought(folder: Path, **files: Any) -> list[Path]:
    """Files in a folder of their own: `layers`, `times`, `profile` and `build` as plain data or as text."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return [folder / f"{name}.json" for name in files if name != "build"]


def budgets(result: qdsl.api.ReportResult) -> dict[str, BudgetFacts]:
    (build,) = result.builds[0].builds
    return {each.text: each for each in build.budgets}


def code_of(build: Path, *paths: Path, device: str | None = "Orin Nano") -> tuple[str, str]:
    """The code with which files are refused, and all that is said."""
    with pytest.raises(QdslError) as caught:
        qdsl.report(build, add=paths, device=device)
    (found,) = caught.value.diagnostics
    assert found.help and "compile RECIPE" not in " ".join(found.help), "no cure of a build's own measurements"
    assert not (build / "engines").exists()
    return found.code, f"{found.headline} {found.label}"


# ---- what decides ----------------------------------------------------------------------------------------------------


def test_an_engine_decides(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = (REAL / "resnet50_qat.RTX3090.timing.json").read_text()
    paths = brought(tmp_path / "orin", layers=layers(build), times=times, build=ORIN)
    words = [word for path in paths for word in ("--add", str(path))]
    assert main(["report", str(build), *words, "--device", "Jetson Orin Nano"]) == 4, "p99 is over 0.1 ms"
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "engine Jetson Orin Nano (Orin, TensorRT 10.3.0) tensorrt, 5 INT8, 1456 runs"
    where = "Jetson Orin Nano (Orin, TensorRT 10.3.0)"
    word = "by the word of who added it"
    assert f"require qdq survives holds (5 of 5 planned nodes, engine on {where}, {word})" in lines
    told = f"measured on {where}, 1456 runs, without copies, {word}"
    assert f"require latency <= 14 ms 2.20 ms holds, 84 % to spare ({told})" in lines
    assert any("latency p99" in line and "BROKEN" in line for line in lines)
    assert any("memory" in line and "undecided" in line for line in lines)
    (kept,) = (build / "engines").iterdir()
    assert kept.name.startswith("tensorrt-jetson-orin-nano-")
    page = read(build / "report.html")
    assert page.wrong == [] and page.all("section", id="device")
    assert "not told: by the word of who added it" in page.shown and "the same file, by its hash" not in page.shown
    for words_ in (where, "Planned nodes: 5 INT8.", "What the engine computes in", "1456 runs", "2.20 ms"):
        assert words_ in page.shown
    assert f"latency, median 2.20 ms on {where}; 1456 runs" in " ".join(page.shown.split())
    assert main(["report", str(build), "--json"]) == 0
    (engine,) = json.loads(capsys.readouterr().out)["builds"][0]["engines"]
    assert engine["runs"] == 1456 and engine["latency"]["p50"] == pytest.approx(2.19641e-3, rel=1e-4)
    assert [each["verdict"] for each in engine["computes"]["nodes"]] == ["INT8"] * 5


def test_an_engine_that_names_its_model_stands_for_itself(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256((build / "tensorrt/model.onnx").read_bytes()).hexdigest()
    brought(tmp_path / "orin", layers=layers(build), times=[RUN] * 20, build={**ORIN, "onnx_sha256": digest})
    main(["report", str(build), "--add", str(tmp_path / "orin")])
    assert "by the word of" not in capsys.readouterr().out
    page = read(build / "report.html")
    assert "the same file, by its hash" in page.shown and "by the word of" not in page.shown


def test_a_folder_that_was_brought_back_is_its_files(build: Path, tmp_path: Path) -> None:
    brought(tmp_path / "orin", layers=layers(build), times=[RUN] * 20, build=ORIN)
    found = qdsl.report(build, add=[tmp_path / "orin"])
    ((engine,),) = found.engines
    assert sorted(engine.files) == ["build", "layers", "times"] and len(engine.seconds) == 20


def test_a_dropped_node_breaks_it_and_an_unknown_one_leaves_it_open(build: Path, tmp_path: Path) -> None:
    found = qdsl.report(build, add=brought(tmp_path / "one", layers=layers(build, absent="inner"), build=ORIN))
    survives = budgets(found)["qdq survives"]
    assert survives.verdict == "undecided" and "`inner`: no layer names it, and one is missing" in survives.source
    found = qdsl.report(build, add=brought(tmp_path / "two", layers=layers(build, floats="inner"), build=ORIN))
    survives = budgets(found)["qdq survives"]
    assert (survives.verdict, survives.value) == ("broken", 0.8) and not found.holds
    assert "4 of 5 planned nodes" in survives.source and "`inner` multiplies fp16" in survives.source
    assert "80.0 % of nodes" in read(build / "report.html").shown


def test_a_waived_node_may_be_dropped(tmp_path: Path) -> None:
    build = compiled(tmp_path, f'{BUDGETS}; allow half_quantized_op on "inner" because "few channels"')
    manifest = json.loads((build / "tensorrt" / "quant_manifest.json").read_text())
    assert [each["waived"] for each in manifest["nodes"]] == ["", "few channels", "", "", ""]
    found = qdsl.report(build, add=brought(tmp_path / "one", layers=layers(build, floats="inner"), build=ORIN))
    assert budgets(found)["qdq survives"].verdict == "holds"
    assert "waived: few channels" in read(build / "report.html").shown


def test_the_engine_of_another_gpu_decides_nothing(build: Path, tmp_path: Path) -> None:
    other = {**ORIN, "gpu": "NVIDIA A100", "compute_capability": "8.0"}
    found = budgets(
        qdsl.report(build, add=brought(tmp_path / "a", layers=layers(build), times=[RUN] * 20, build=other))
    )
    assert {each.verdict for each in found.values()} == {"undecided"}
    words = "on NVIDIA A100 (TensorRT 10.3.0), of compute capability 8.0, and jetson-orin-nano is 8.7"
    assert words in found["qdq survives"].source and words in found["latency <= 14 ms"].source


def test_few_runs_decide_nothing(build: Path, tmp_path: Path) -> None:
    found = budgets(qdsl.report(build, add=brought(tmp_path / "a", times=[RUN] * 9, build=ORIN)))
    assert found["latency <= 14 ms"].verdict == "undecided" and "9 runs" in found["latency <= 14 ms"].source
    assert found["qdq survives"].verdict == "undecided"
    found = budgets(qdsl.report(build, add=brought(tmp_path / "a", times=[RUN] * 10, build=ORIN)))
    assert found["latency <= 14 ms"].verdict == "undecided", "undecided by one engine is undecided"


def test_shares_of_one_run_are_shown_and_flagged(build: Path, tmp_path: Path) -> None:
    rows = "".join(
        f', {{ "name" : "{each["Name"]}", "timeMs" : 1, "averageMs" : 1, "percentage" : nan }}\n'
        for each in layers(build)["Layers"]
    )
    profile = '[\n  { "count" : 1 }\n' + rows + "]\n"
    qdsl.report(build, add=brought(tmp_path / "a", layers=layers(build), profile=profile, build=ORIN))
    shown = read(build / "report.html").shown
    assert "20.0 %" in shown and "the profile is of 1 run" in shown


def test_the_script_reads_the_manifest_beside_the_artifact(build: Path, tmp_path: Path) -> None:
    manifest = build / "tensorrt" / "quant_manifest.json"
    assert verify_engine.read_manifest(manifest.read_text()) == asked_of(manifest_of(manifest.read_text()))
    for floats, code in (("", 0), ("stem", 4)):
        (path,) = brought(tmp_path / "a", layers=layers(build, floats=floats))
        assert verify_engine.main(["--manifest", str(manifest), "--layers", str(path)]) == code
    beside = manifest.parent / "verify_engine.py"
    assert beside.read_text() == Path(verify_engine.__file__).read_text()


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_files_that_do_not_tell_enough_are_refused(build: Path, tmp_path: Path) -> None:
    one = brought(tmp_path / "one", layers=layers(build))
    assert "nothing says on which GPU" in " ".join(code_of(build, *one, device=None))
    two = brought(tmp_path / "two", layers=layers(build))
    code, told = code_of(build, *one, *two)
    assert code == "engine-files" and "are both layers of an engine" in told
    profile = brought(tmp_path / "three", profile=(REAL / f"{QAT}.profile.json").read_text())
    code, told = code_of(build, *profile)
    assert code == "engine-files" and "neither what an engine computes" in told


@pytest.mark.parametrize("name", ["", "some.json"])
def test_what_is_nothing_known_is_told_with_what_can_be_added(build: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "some.json").write_text("[]")
    with pytest.raises(QdslError) as caught:
        qdsl.report(build, add=[tmp_path / name], device="Orin Nano")
    (found,) = caught.value.diagnostics
    assert found.code == "measurements-file" and "layers.json" in " ".join(found.help)
    assert found.label == ("expected what `python bench.py` wrote on a device" if name else "it is a folder")


def test_the_engine_of_another_model_is_refused(build: Path, tmp_path: Path) -> None:
    code, told = code_of(build, *brought(tmp_path / "a", layers=(REAL / f"{QAT}.graph.json").read_text()))
    assert code == "measurements-file" and "another model: its layers name 0 of the 5 planned nodes" in told
    code, told = code_of(build, *brought(tmp_path / "b", layers=layers(build), build={**ORIN, "onnx_sha256": "0" * 64}))
    assert code == "measurements-other" and "another model" in told


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("layers", '{"Layers": ["a", "b"]}', "names of layers alone"),
        ("layers", '{"Layers": [{"Name": "a", "Lay', "it ends in the middle|Unterminated"),
        ("times", '[{"startEnqMs": 1, "computeMs": 2}, {"startEnq', "not JSON"),
        ("times", '[{"latencyMs": -1}]', r"times\[0\].latencyMs: expected a latency above 0 ms"),
        ("times", '[{"latencyMs": "1"}]', r"times\[0\].latencyMs: expected a number"),
        ("layers", '{"Layers": {}}', "holds no layers"),
        ("profile", '[ { "count" : 12 }\n, { "name" : "a", "timeMs" : 1', "is the file cut off?"),
        ("build", '{"tensorrt": 3, "engine": ""}', "build.tensorrt: expected a text"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_with_its_reason(build: Path, tmp_path: Path, name: str, text: str, words: str) -> None:
    files: dict[str, Any] = {"times": [RUN] * 20, name: text}
    code, told = code_of(build, *brought(tmp_path / "a", **files))
    assert code == "measurements-file" and f"{name}.json" in told
    assert any(word in told for word in words.replace("\\", "").split("|")), told


def test_a_kept_engine_of_another_artifact_is_left_out(build: Path, tmp_path: Path) -> None:
    qdsl.report(build, add=brought(tmp_path / "a", times=[RUN] * 20, build=ORIN))
    (kept,) = (build / "engines").iterdir()
    content = json.loads(kept.read_text())
    assert engines.document(engines.read(kept)) == kept.read_text()
    for key, value, words in (
        ("model_sha256", "0" * 64, "another file in place of `tensorrt`"),
        ("recipe", "other", "of recipe `other`"),
        ("seconds", [1e9], "engine.seconds[0]: expected a number"),
        ("kind", "device", "nothing that was kept of an engine"),
    ):
        kept.write_text(json.dumps({**content, key: value}))
        found = qdsl.report(build)
        assert [each.code for each in found.diagnostics] == ["device-left-out"] and found.engines == ((),)
        assert words in found.diagnostics[0].headline


def test_device_alone_is_a_wrong_use(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(build), "--device", "x"]) == 2
    assert "`--device` names the GPU" in capsys.readouterr().err


# ---- the files -------------------------------------------------------------------------------------------------------


def test_times_of_real_runs() -> None:
    found = read_times((REAL / "resnet50_qat.RTX3090.timing.json").read_text())
    assert (len(found.seconds), found.copies) == (1456, False)
    assert sorted(found.seconds)[728] == pytest.approx(2.19641e-3, rel=1e-4)


def test_times_of_older_files_and_with_copies() -> None:
    found = read_times('[{"inMs": 0.5, "computeMs": 2.0, "outMs": 0.25}]')
    assert found.seconds == (0.00275,) and found.copies
    for text in ("[]", "{}", "[3]", '[{"latencyMs": NaN}]'):
        with pytest.raises(UnfitError):
            read_times(text)


def test_files_are_told_apart_by_what_they_hold() -> None:
    kinds = {path.name: kind_of(path.read_text()) for path in sorted(REAL.glob("*.json"))}
    assert kinds == {
        name: "profile" if "profile" in name else "times" if "timing" in name else "layers" for name in kinds
    }
    assert kind_of("--- Layer 0 ---\n{}") == "layers" and kind_of(json.dumps(ORIN)) == "build"
    assert kind_of('{"kind": "device"}') is None and kind_of("[]") is None and kind_of("x") is None
