"""What a device measured: taken into the build that it is of and no other, shown, and deciding its budgets."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compile_tools import tree
from device_tools import BOARD, Edit, document, written
from report_tools import Page, read
from test_bundle import run
from test_evaluate import coloured, write
from test_report import COLOURS, EVIL, STEPS, leaves, tilted

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.harness import Key, check, devices
from qdsl.harness.measurements import COSTS, BudgetFacts
from qdsl.harness.reading import read as read_measurements
from qdsl.measure.budgets import cost_readings, decide
from qdsl.spec.bounds import UnfitError

EVALUATE = "classification on val { measure top1, f1; profile latency { runs 4; warmup 1; threads 1 } }"
ON_BOARD = (
    'target ort { device "a board"; require latency p90 <= 5 ms; require latency speedup >= 1.5; '
    "require memory <= 100 MiB; require energy <= 1 J; require size <= 1 MiB }"
)


def compiled(folder: Path, target: str = ON_BOARD, edit: Callable[[str], str] = lambda text: text) -> Path:
    """The folder of a build of the small classifier."""
    coloured(folder)
    path = write(folder, tilted(), EVALUATE, COLOURS, STEPS)
    path.write_text(edit(path.read_text(encoding="utf-8").replace("target ort", target)), encoding="utf-8")
    return qdsl.compile(path, out=folder / "build", lock=False).directory


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for a target that this machine decides."""
    target = ON_BOARD.replace('device "a board"; ', "").replace("5 ms", "5 s").replace("1.5", "1000")
    return compiled(tmp_path_factory.mktemp("here"), target)


@pytest.fixture
def build(made: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "build" / "demo"))


def verdicts(result: qdsl.api.ReportResult) -> dict[str, str]:
    """By the metric of a budget, and its form where that is not the value."""
    (build,) = result.builds[0].builds
    return {b.metric + ("" if b.form == "value" else f" {b.form}"): b.verdict for b in build.budgets}


def budget(result: qdsl.api.ReportResult, text: str) -> BudgetFacts:
    return next(b for b in result.builds[0].builds[0].budgets if b.text.startswith(text))


def shown(build: Path) -> Page:
    return read(build / "report.html")


# ---- taken in and decided --------------------------------------------------------------------------------------------


def test_what_a_bundle_measures_is_added(build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told, _ = run(build / "ort" / "bench")
    before = (build / "measurements.json").read_bytes()
    text = (build / "ort" / "bench" / "measurements.json").read_text(encoding="utf-8")
    (tmp_path / "brought.json").write_text(text, encoding="utf-8")
    code = main(["report", str(build), "--add", str(tmp_path / "brought.json")])
    lines = capsys.readouterr().out.splitlines()
    (kept,) = (build / "devices").iterdir()
    assert json.loads(kept.read_text(encoding="utf-8")) == told
    assert (build / "measurements.json").read_bytes() == before
    name = told["environment"].get("board") or told["environment"]["processor"]
    stages = [line.split()[0] for line in lines]
    assert stages == ["device", "require", "require", "require", "require", "require", "report"]
    assert name in lines[0] and f"(measured on {name}, 4 runs)" in lines[1]
    assert code == (4 if any("BROKEN" in line for line in lines) else 0)
    page = shown(build)
    assert page.wrong == [] and page.all("section", id="device")
    for words in (name, "Costs per run", "Outputs against the machine", "24 samples there", "4 runs each"):
        assert words in page.shown


@pytest.mark.parametrize(
    ("figures", "code", "latency", "memory"),
    [
        ({}, 0, "holds", "holds"),
        ({"ms": 6.0}, 4, "broken", "holds"),
        ({"memory": 200 << 20}, 4, "holds", "broken"),
        ({"memory": None}, 0, "holds", "undecided"),
    ],
)
def test_a_device_decides(
    figures: dict[str, Any], code: int, latency: str, memory: str, build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budgets = read_measurements(build / "measurements.json").builds[0].budgets
    assert {b.verdict for b in budgets if b.metric in COSTS} == {"undecided"}
    path = written(build, build.parent / "new.json", **figures)
    assert main(["report", str(build), "--add", str(path), "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    found = [(b["metric"], b["form"], b["verdict"]) for b in told["builds"][0]["targets"]["ort"]["budgets"]]
    assert found == [
        ("latency", "value", latency),
        ("latency", "speedup", "holds"),
        ("memory", "value", memory),
        ("energy", "value", "undecided"),
        ("size", "value", "holds"),
    ]
    assert told["holds"] is (code == 0) and [each["name"] for each in told["builds"][0]["devices"]] == [BOARD]
    word = "a budget is broken" if code else "a budget is undecided"
    assert word in shown(build).shown


def test_an_emulated_device_decides_nothing(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def emulated(found: dict[str, Any]) -> None:
        found["emulated"] = True
        found["environment"]["emulator"] = "cortex-a76, qemu 7.2"

    path = written(build, build.parent / "new.json", emulated, ms=99.0, memory=200 << 20)
    assert main(["report", str(build), "--add", str(path)]) == 0
    told = capsys.readouterr()
    assert "warning[device-emulated]" in told.err
    assert "emulated (cortex-a76, qemu 7.2)" in told.out and "undecided: measured under emulation only" in told.out
    page = shown(build)
    assert "Emulated (cortex-a76, qemu 7.2)" in page.shown and "Costs per run, Board A" not in page.shown
    assert "99.0 ms" not in page.shown and "a budget is undecided" in page.shown
    result = qdsl.report(build, add=[written(build, build.parent / "real.json", ms=1.0)])
    assert verdicts(result)["latency"] == "holds", "a real device beside it decides"


def test_the_page_shows_what_the_device_computes(build: Path) -> None:
    qdsl.report(build, add=[written(build, build.parent / "new.json")])
    for words in ("its own arithmetic there, 8 samples", "the graph's own arithmetic", "against the float model"):
        assert words in shown(build).shown
    assert all(f"{value} dB" in shown(build).shown for value in (41.5, 41.0, 34.4, 34.3))
    qdsl.report(build, add=[written(build, build.parent / "none.json", lambda found: found.update(arithmetic=None))])
    assert len(qdsl.report(build).devices[0]) == 2


def test_a_decided_budget_says_where_and_how_far(build: Path) -> None:
    result = qdsl.report(build, add=[written(build, build.parent / "new.json", ms=4.0)])
    found = budget(result, "latency p90")
    assert (found.value, found.bound, found.unit) == (0.004, 0.005, "ms")
    assert found.margin == pytest.approx(0.2) and found.source == f"measured on {BOARD}, 5 runs"
    table = shown(build).shown
    assert "5.00 ms" in table and "20 %" in table and found.source in table


def test_of_several_devices_the_worst_counts(build: Path) -> None:
    paths = [
        written(build, build.parent / f"{at}.json", board=f"Board {at}", ms=ms, memory=memory)
        for at, (ms, memory) in enumerate([(3.0, 60 << 20), (4.0, None), (2.0, 50 << 20)])
    ]
    result = qdsl.report(build, add=paths)
    assert len(result.devices[0]) == 3 and result.holds
    found = budget(result, "latency p90")
    assert (found.verdict, found.value) == ("holds", 0.004) and "Board 1," in found.source
    assert budget(result, "memory").verdict == "undecided"
    slow = written(build, build.parent / "slow.json", board="Board 9", ms=5.5, memory=200 << 20)
    result = qdsl.report(build, add=[slow])
    found = budget(result, "latency p90")
    assert (found.verdict, found.value) == ("broken", 0.0055) and "Board 9," in found.source
    assert not result.holds and budget(result, "memory").verdict == "broken"


def test_a_target_without_a_device_is_decided_here(here: Path, tmp_path: Path) -> None:
    build = Path(shutil.copytree(here, tmp_path / "demo"))
    before = read_measurements(build / "measurements.json").builds
    result = qdsl.report(build, add=[written(build, tmp_path / "new.json", ms=1e5)])
    assert result.builds[0].builds == before and budget(result, "latency p90").value is not None
    assert "On the device" in shown(build).shown


def test_what_is_decided_again_comes_out_the_same(here: Path) -> None:
    found = read_measurements(here / "measurements.json")
    (profile,), (facts,) = found.profiles, found.builds
    readings = cost_readings(profile, "here")
    costs = [b for b in facts.budgets if b.metric in COSTS]
    assert len(costs) == 4 and {b.verdict for b in costs} > {"holds"}
    for each in costs:
        earlier = replace(each, verdict="holds", value=7.0, low=6.0, high=8.0, source="of old")
        assert decide(earlier, readings) == each


@pytest.mark.parametrize(
    ("comparison", "value", "bound", "margin"),
    [
        ("<=", 3.0, 4.0, 0.25),
        ("<", 5.0, 4.0, -0.25),
        (">=", 5.0, 4.0, 0.25),
        (">", 3.0, 4.0, -0.25),
        ("<=", -3.0, -2.0, 0.5),
        ("==", 4.0, 4.0, None),
        ("<=", 0.0, 0.0, None),
        ("<=", None, 4.0, None),
    ],
)
def test_margins_are_negative_where_broken(
    comparison: str, value: float | None, bound: float, margin: float | None
) -> None:
    found = BudgetFacts("a", "holds", "latency", (), "value", comparison, value, bound, "s", None, None, "", "")
    assert found.margin == margin


# ---- kept ------------------------------------------------------------------------------------------------------------


def names(build: Path) -> list[str]:
    return sorted(path.name for path in (build / "devices").iterdir())


def test_the_same_measurements_are_kept_once(build: Path, tmp_path: Path) -> None:
    found = document(build)
    plain, loose = tmp_path / "plain.json", tmp_path / "loose.json"
    plain.write_text(json.dumps(found), encoding="utf-8")
    loose.write_text(json.dumps(dict(reversed(found.items())), indent=7), encoding="utf-8")
    qdsl.report(build, add=[plain, plain, loose])
    (name,) = names(build)
    assert name.startswith("ort-board-a-") and name.endswith(".json")
    page = (build / "report.html").read_bytes()
    kept = (build / "devices" / name).read_bytes()
    qdsl.report(build, add=[build / "devices" / name])
    assert names(build) == [name] and (build / "devices" / name).read_bytes() == kept
    assert qdsl.report(build).path.read_bytes() == page


def test_other_measurements_stand_beside_it(build: Path, made: Path, tmp_path: Path) -> None:
    paths = [written(build, tmp_path / f"{ms}.json", ms=ms) for ms in (1.0, 2.0)]
    qdsl.report(build, add=paths)
    again = Path(shutil.copytree(made, tmp_path / "again"))
    qdsl.report(again, add=paths[:0:-1])
    qdsl.report(again, add=paths[::-1])
    assert len(names(build)) == 2 and tree(build / "devices") == tree(again / "devices")
    assert (build / "report.html").read_bytes() == (again / "report.html").read_bytes()
    assert f"{BOARD} (1)" in shown(build).shown and f"{BOARD} (2)" in shown(build).shown


@pytest.mark.parametrize("board", ["../../evil", "", "\u202e\ud800", "x" * 300, "日本"])
def test_a_device_of_any_name_is_a_file_here(board: str, build: Path, tmp_path: Path) -> None:
    qdsl.report(build, add=[written(build, tmp_path / "new.json", board=board)])
    (name,) = names(build)
    assert name.isascii() and len(name) < 120 and "/" not in name and name.startswith("ort")
    assert {path.name for path in tmp_path.iterdir()} == {"build", "new.json"}
    assert shown(build).wrong == []


def test_a_report_finds_what_was_added_before(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    qdsl.report(build, add=[written(build, build.parent / "new.json", ms=7.0)])
    added = (build / "report.html").read_bytes()
    assert main(["report", str(build)]) == 0, "the page alone: nothing was asked to be decided"
    assert capsys.readouterr().out.split() == ["report", str(build / "report.html")]
    assert (build / "report.html").read_bytes() == added and verdicts(qdsl.report(build))["latency"] == "broken"


@pytest.mark.slow
def test_measurements_of_another_artifact_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = compiled(tmp_path)
    qdsl.report(build, add=[written(build, tmp_path / "new.json")])
    (name,) = names(build)
    assert "On the device" in shown(build).shown
    compiled(tmp_path, edit=lambda text: text.replace("activations uint8", "activations 6 bit"))
    assert names(build) == [name] and "On the device" not in shown(build).shown
    assert main(["report", str(build)]) == 0
    told = capsys.readouterr().err
    assert "warning[device-left-out]" in told and name in told and "ort/model.onnx" in told
    assert verdicts(qdsl.report(build))["latency"] == "undecided"
    compiled(tmp_path)
    result = qdsl.report(build)
    assert not result.diagnostics and verdicts(result)["latency"] == "holds"


def test_a_kept_file_that_cannot_be_read_is_left_out(build: Path, tmp_path: Path) -> None:
    qdsl.report(build, add=[written(build, tmp_path / "new.json")])
    (name,) = names(build)
    whole = (build / "devices" / name).read_bytes()
    (build / "devices" / "cut.json").write_bytes(whole[:-9])
    (build / "devices" / "copy.json").write_bytes(whole)
    (build / "devices" / "notes.txt").write_text("mine", encoding="utf-8")
    result = qdsl.report(build)
    assert [(d.code, "cut.json" in d.headline) for d in result.diagnostics] == [("device-left-out", True)]
    assert len(result.devices[0]) == 1


# ---- of this build ---------------------------------------------------------------------------------------------------


def rename(found: dict[str, Any]) -> None:
    """As if the target had another name."""
    text = json.dumps(found).replace('"ort"', '"tflite"')
    found.clear()
    found.update(json.loads(text))


def file(name: str, digest: str | None = "0" * 64) -> Edit:
    def edit(found: dict[str, Any]) -> None:
        if digest is None:
            del found["files"][name]
        else:
            found["files"][name] = digest

    return edit


FOREIGN: dict[str, tuple[Edit, str]] = {
    "another recipe": (lambda found: found.update(recipe="other"), "other"),
    "a target that is not there": (rename, "tflite"),
    "another artifact": (file("../model.onnx"), "ort/model.onnx"),
    "no artifact": (file("../model.onnx", None), "ort/model.onnx"),
    "a file that no artifact has": (file("../more.data"), "ort/more.data"),
    "another float model": (file("float.onnx"), "ort/bench/float.onnx"),
    "other samples": (file("samples.npz"), "ort/bench/samples.npz"),
    "another script": (file("metrics/boxes.py"), "ort/bench/metrics/boxes.py"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_measurements_of_another_build_are_refused(kind: str, build: Path, tmp_path: Path) -> None:
    edit, name = FOREIGN[kind]
    paths = [written(build, tmp_path / "good.json"), written(build, tmp_path / "bad.json", edit)]
    before = tree(build)
    with pytest.raises(QdslError) as caught:
        qdsl.report(build, add=paths)
    (found,) = caught.value.diagnostics
    assert found.code == "measurements-other" and found.help
    assert "bad.json" in found.headline and name in found.headline
    assert tree(build) == before


def test_a_file_that_was_changed_here_is_noticed(build: Path, tmp_path: Path) -> None:
    path = written(build, tmp_path / "new.json")
    with (build / "ort" / "bench" / "golden_ort.npz").open("ab") as stored:
        stored.write(b"\0")
    with pytest.raises(QdslError) as caught:
        qdsl.report(build, add=[path])
    assert "ort/bench/golden_ort.npz" in caught.value.diagnostics[0].headline


def test_without_its_bundle_the_artifact_is_enough(build: Path, tmp_path: Path) -> None:
    good, bad = (
        written(build, tmp_path / "good.json", file("samples.npz")),
        written(build, tmp_path / "bad.json", file("../model.onnx")),
    )
    shutil.rmtree(build / "ort")
    assert len(qdsl.report(build, add=[good]).devices[0]) == 1
    with pytest.raises(QdslError) as caught:
        qdsl.report(build, add=[bad])
    assert [found.code for found in caught.value.diagnostics] == ["measurements-other"]


# ---- what may not be trusted -----------------------------------------------------------------------------------------


def deep(*keys: str, to: Any) -> Edit:
    """Put another value at a place."""

    def edit(found: dict[str, Any]) -> None:
        place = found
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return edit


COST = ("profile", "builds", "ort")
UNFIT: dict[str, tuple[Edit, str]] = {
    "negative seconds": (deep(*COST, "seconds", to=[0.1, -0.1, 0.1, 0.1, 0.1]), "profile.builds.ort.seconds[1]"),
    "no seconds": (deep(*COST, "seconds", to=[]), "profile.builds.ort.seconds"),
    "too few seconds": (deep(*COST, "seconds", to=[0.1]), "profile.builds.ort.seconds"),
    "seconds of nothing": (deep(*COST, "seconds", to=[0.0] * 5), "profile.builds.ort.seconds"),
    "seconds of a month": (deep(*COST, "seconds", to=[0.1, 0.1, 0.1, 0.1, 2.6e6]), "profile.builds.ort.seconds[4]"),
    "seconds that are none": (deep(*COST, "seconds", to=[0.1, 0.1, 0.1, 0.1, "nan"]), "profile.builds.ort.seconds[4]"),
    "no runs": (deep("profile", "runs", to=0), "profile.runs"),
    "more runs than seconds": (deep("profile", "runs", to=6), "profile.builds.float.seconds"),
    "no batch": (deep("profile", "batch", to=0), "profile.batch"),
    "a third build": (deep("profile", "builds", "more", to={}), "profile.builds"),
    "negative energy": (deep(*COST, "energy", to=-1.0), "profile.builds.ort.energy"),
    "negative memory": (deep(*COST, "peak_memory", to=-1), "profile.builds.ort.peak_memory"),
    "a negative error": (deep("goldens", "ort", "y", "max_error", to=-1.0), "goldens.ort.y.max_error"),
    "goldens of one build": (deep("goldens", to={"ort": {}}), "goldens"),
    "a long name": (deep("goldens", "ort", "y" * 1001, to={"sqnr_db": None, "max_error": 0.0}), "goldens.ort"),
    "a long fact": (deep("environment", "board", to="b" * 301), "environment.board"),
    "many facts": (deep("environment", to={str(at): "" for at in range(1001)}), "environment"),
    "a fact that is a number": (deep("environment", "python", to=3.11), "environment.python"),
    "a file elsewhere": (deep("files", "../../a", to="0" * 64), "files"),
    "a file at the root": (deep("files", "/etc/passwd", to="0" * 64), "files"),
    "no hash": (deep("files", "../model.onnx", to="0"), "files.../model.onnx"),
    "a kernel that did not run": (deep("kernels", "Mystery", to=[1, 1]), "kernels.Mystery"),
    "a kernel of three": (deep("kernels", "Mystery", to=[1, 0, 0]), "kernels.Mystery"),
    "an operator that ran never": (deep("operators", "ort", "Relu", to=0), "operators.ort.Relu"),
    "a score in words": (deep("scores", "ort", "top1", to="good"), "scores.ort.top1"),
    "scores of one build": (deep("scores", to={"ort": {}}), "scores"),
    "no samples": (deep("samples", to=0), "samples"),
    "emulated in words": (deep("emulated", to="no"), "emulated"),
    "fidelity in words": (deep("fidelity", "y", "here_db", to="good"), "fidelity.y.here_db"),
    "half a fidelity": (deep("fidelity", "y", to={"here_db": 1.0}), "fidelity.y"),
    "arithmetic of nothing": (deep("arithmetic", "samples", to=0), "arithmetic.samples"),
    "arithmetic without outputs": (deep("arithmetic", to={"samples": 8}), "arithmetic"),
    "a negative error of arithmetic": (deep("arithmetic", "outputs", "y", "max_error", to=-1), "arithmetic.outputs.y"),
    "a target that is a path": (deep("target", to="../ort"), "target"),
    "a key too many": (deep("more", to=1), "device"),
    "another format": (deep("format", to=1), "format 1"),
    "a format that is not one": (deep("format", to=True), "format True"),
    "another kind": (deep("kind", to="phone"), "kind 'phone'"),
    "no kind": (lambda found: found.pop("kind"), "no kind"),
}


def refused(build: Path, path: Path) -> str:
    """What is said of a file that is no device's, of which nothing is kept."""
    with pytest.raises(QdslError) as caught:
        qdsl.report(build, add=[path])
    (found,) = caught.value.diagnostics
    assert found.code == "measurements-file" and path.name in found.headline and found.help
    assert not (build / "devices").exists()
    return found.label


@pytest.mark.parametrize("kind", UNFIT)
def test_a_value_that_does_not_fit_is_named_with_its_place(kind: str, build: Path, tmp_path: Path) -> None:
    edit, place = UNFIT[kind]
    assert place in refused(build, written(build, tmp_path / "bad.json", edit))


ODD_FILES = {
    "empty": (b"", "Expecting value"),
    "words": (b"p50 2.0 ms", "Expecting value"),
    "cut off": (b'{"format": 1, "kind": "dev', "Unterminated"),
    "a list": (b"[]", "wrote on a device"),
    "not a number": (b'{"format": 1, "kind": "device", "samples": NaN}', "NaN is not JSON"),
    "infinite": (b'{"format": 1, "kind": "device", "samples": -Infinity}', "-Infinity is not JSON"),
    "a key twice": (b'{"format": 1, "kind": "device", "kind": "device"}', "'kind' stands twice"),
    "not UTF-8": (b'{"format": 1, "recipe": "\xff"}', "utf-8"),
    "deep": (b"[" * 100000, "nested too deeply"),
    "long numbers": (b'{"format": ' + b"1" * 5000 + b"}", "4300"),
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_files_that_are_something_else_are_refused(kind: str, build: Path, tmp_path: Path) -> None:
    content, why = ODD_FILES[kind]
    (tmp_path / "bad.json").write_bytes(content)
    assert why in refused(build, tmp_path / "bad.json")


def test_a_file_that_is_too_large_is_refused(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(build, tmp_path / "bad.json")
    monkeypatch.setattr("qdsl.harness.reading.LARGEST", path.stat().st_size - 1)
    assert "larger than" in refused_by_reader(path)


def refused_by_reader(path: Path) -> str:
    with pytest.raises(QdslError) as caught:
        devices.read(path)
    return caught.value.diagnostics[0].label


def test_a_build_is_no_device_and_a_device_no_build(build: Path, tmp_path: Path) -> None:
    assert "a build's own document" in refused(build, build / "measurements.json")
    written(build, tmp_path / "other" / "measurements.json")
    with pytest.raises(QdslError) as caught:
        qdsl.report(tmp_path / "other")
    assert "--add" in caught.value.diagnostics[0].label


def test_a_file_that_is_not_there_is_said(build: Path, tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.report(build, add=[tmp_path / "none.json", tmp_path])
    assert [found.code for found in caught.value.diagnostics] == ["measurements-missing", "measurements-file"]
    assert all("bench.py" in found.help[0] for found in caught.value.diagnostics)


def test_no_value_is_taken_on_trust(build: Path) -> None:
    content = document(build)
    paths = list(leaves(content))
    assert len(paths) > 50
    for path in paths:
        count = 0
        for wrong in ({"a": 1}, [[1]], True, -5, 1e308, "../../x", None):
            place: Any = content
            for key in path[:-1]:
                place = place[key]
            kept, place[path[-1]] = place[path[-1]], wrong
            try:
                devices.checked(content)
            except UnfitError:
                count += 1
            place[path[-1]] = kept
        assert count >= 3, path


def test_what_is_read_is_what_was_written(build: Path) -> None:
    content = document(build)
    content["goldens"]["ort"]["y"] = {"sqnr_db": "-inf", "max_error": "inf"}
    content["scores"] = None
    for each in (document(build), content):
        found = devices.checked(each)
        assert devices.parsed(devices.document(found)) == found
        assert json.loads(devices.document(found)) == each


def test_add_takes_one_build_and_a_list(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(made, tmp_path / "new.json")
    with pytest.raises(ValueError, match="one build"):
        qdsl.report(made, made, add=[path])
    with pytest.raises(ValueError, match="a list"):
        qdsl.report(made, add=str(path))
    assert main(["report", str(made), str(made), "--add", str(path)]) == 2
    assert "one build" in capsys.readouterr().err and not (made / "devices").exists()


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_part_of_a_device_is_whole(build: Path, tmp_path: Path) -> None:
    qdsl.report(build, add=[written(build, tmp_path / "new.json")])
    page = shown(build)
    assert page.wrong == [] and [link["href"] for link in page.all("a") if link["href"] == "#device"] == ["#device"]
    for words in ("aarch64", "3.11.2", "2.00x", "41.5 dB", "equal", "0.25", "0.8750", "ort static, there"):
        assert words in page.shown, words
    for words in ("8 samples there, 24 samples of val here", "ort static, here", "Operators that really ran"):
        assert words in page.shown, words
    charts = [element["aria-label"] for element in page.all("figure")]
    assert charts.count("Latency over the runs") == 2, "that of here, and that of the device"
    assert "NOT as predicted on this device" not in page.shown
    assert f"5 runs; on {BOARD}" in page.shown, "the tile of the latency says where"


def part_of(path: Path, start: str) -> str:
    """The markup of a page from some words to the end of the table."""
    return path.read_text(encoding="utf-8").partition(start)[2].partition("</table>")[0]


def test_scores_stand_beside_those_of_here(build: Path, tmp_path: Path) -> None:
    path = qdsl.report(build, add=[written(build, tmp_path / "new.json")]).path
    (evaluation,) = read_measurements(build / "measurements.json").evaluations
    here = [evaluation.of(name).scores[Key("top1")] for name in ("float", "ort")]
    cells = re.findall(r'data-v="([^"]*)"', part_of(path, "Scores: 8 samples there"))
    assert [float(cell) for cell in cells] == [1.0, 0.875, *here]


def test_a_kernel_that_does_not_run_stands_out(build: Path, tmp_path: Path) -> None:
    def lose(found: dict[str, Any]) -> None:
        name, (count, _) = next(iter(found["kernels"].items()))
        found["kernels"][name] = [count, 0]
        del found["operators"]["ort"][name]

    qdsl.report(build, add=[written(build, tmp_path / "new.json", lose)])
    page = shown(build)
    assert "NOT as predicted on this device" in page.shown and page.all("td", class_="differs")


def test_names_cannot_become_markup(build: Path, tmp_path: Path) -> None:
    def evil(found: dict[str, Any]) -> None:
        found["environment"][EVIL] = EVIL
        found["goldens"]["ort"][EVIL + "\u202e"] = {"sqnr_db": "nan", "max_error": "inf"}
        found["operators"]["ort"][EVIL] = 1
        found["kernels"][EVIL] = [2, 1]
        found["scores"]["ort"][EVIL] = "inf"

    qdsl.report(build, add=[written(build, tmp_path / "new.json", evil, board=EVIL)])
    page = shown(build)
    assert page.wrong == [] and len(page.all("script")) == 1 and not page.all("img")
    assert "\u202e" not in page.shown and EVIL in page.shown


def test_builds_are_compared_on_devices(build: Path, made: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(made, tmp_path / "other"))
    out = tmp_path / "page.html"
    qdsl.report(build, add=[written(build, tmp_path / "a.json")])
    page = read(qdsl.report(build, other, out=out).path)
    assert page.wrong == [] and f"latency on {BOARD}" in page.shown and "measured on the same devices" in page.shown
    qdsl.report(other, add=[written(other, tmp_path / "b.json", ms=3.25)])
    page = read(qdsl.report(build, other, out=out).path)
    assert "measured on the same devices" not in page.shown and "different software" not in page.shown
    assert "3.25 ms" in page.shown and "Costs per run on devices" in page.shown
    newer = written(other, tmp_path / "c.json", lambda found: found["environment"].update(python="3.13.0"), ms=3.5)
    qdsl.report(other, add=[newer])
    slower = written(other, tmp_path / "d.json", ms=3.75)
    qdsl.report(other, add=[slower])
    page = read(qdsl.report(build, other, out=out).path)
    assert "different software" in page.shown and page.shown.count(f"latency on {BOARD}") == 1
    rows = part_of(out, 'id="builds"')
    assert [f"{ms} ms" in rows for ms in ("2.00", "3.25", "3.50", "3.75")] == [True, False, False, True]


# ---- the script ------------------------------------------------------------------------------------------------------


def test_what_is_not_a_number_is_written_as_a_word() -> None:
    assert check.decibels(1.0, 0.0) is None and check.decibels(100.0, 1.0) == pytest.approx(20.0)
    assert check.decibels(0.0, 1.0) == -math.inf == check.decibels(1.0, math.inf)
    told = check.decibels(math.nan, math.nan)
    assert told is not None and math.isnan(told)
    assert check.json_ready({"a": (math.nan, [-math.inf, 1])}) == {"a": ["nan", ["-inf", 1]]}
