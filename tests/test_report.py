"""Reports: everything in them comes from files, reads right, and is harmless whatever the files hold."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compile_tools import HEAD, project
from data_cases import graph_of
from onnx import ModelProto, helper, numpy_helper
from PIL import Image
from report_tools import Page, read
from test_evaluate import (
    LABELS,
    boxes_model,
    coloured,
    compiled,
    masked,
    mean_colour,
    write,
    yolo_data,
)

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.harness.measurements import document
from qdsl.harness.reading import checked, parsed
from qdsl.harness.reading import read as read_measurements
from qdsl.harness.results import ClassMap
from qdsl.report.axes import axis, ticks
from qdsl.spec.bounds import UnfitError

PARTS = ("summary", "accuracy", "speed", "layers", "samples", "recipe", "plan", "build")
EVALUATE = (
    'classification on val { measure top1, f1 "red"; profile latency { runs 6; warmup 1; threads 1 }; '
    "require top1 >= 0.5; require size <= 1 MiB; corrupt { noise; severity [1, 3] } }"
)
COLOURS = 'folder "photos" { classes ["red", "green", "blue"] }'
EVIL = "</script><img src=x onerror=alert(1)>"


STEPS = "resize 8 stretch; rescale 1/255"  # scores near one another: a step of 8 bits shows


def tilted() -> ModelProto:
    """`mean_colour` whose weights do not lie on steps of 8 bits: answers of the build differ."""
    return mean_colour(np.array([[1.0, 0.013, 0], [0.017, 1, 0], [0.019, 0, 1]]))


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a classifier's build, evaluated and profiled."""
    folder = tmp_path_factory.mktemp("classified")
    coloured(folder)
    return compiled(write(folder, tilted(), EVALUATE, COLOURS, STEPS)).directory


@pytest.fixture(scope="module")
def detected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a detector's build, which places its boxes a little elsewhere than float."""
    folder = tmp_path_factory.mktemp("detected")
    rows = np.zeros((1, 6, 9))
    rows[0, :4, 0], rows[0, 4:, 0] = (2, 4, 4, 4), (0.9, 0.1)
    rows[0, :4, 1], rows[0, 4:, 1] = (6.03, 4, 4, 3.1), (0.613, 0.0)
    data = yolo_data(folder, LABELS, size=(640, 320))
    model = boxes_model(rows)
    factor = next(constant for constant in model.graph.initializer if constant.name == "zero")
    factor.CopyFrom(numpy_helper.from_array(np.float32(1e-3), "zero"))  # the picture moves them, too
    steps = "resize 8 letterbox; rescale 1/255"
    return compiled(write(folder, model, "detection on val { decode yolov8 }", data, steps)).directory


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a segmenter's build, whose answers differ."""
    folder = tmp_path_factory.mktemp("parted")
    data = masked(folder, 5)
    return compiled(write(folder, nearly_tied(), "segmentation on val { measure miou }", data)).directory


@pytest.fixture
def copied(classified: Path, tmp_path: Path) -> Path:
    """A copy of the classifier's build, to be changed."""
    return Path(shutil.copytree(classified, tmp_path / "build" / "demo"))


def change(build: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit measurements.json."""
    path = build / "measurements.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def page(*builds: Path, out: Path | None = None) -> Page:
    return read(qdsl.report(*builds, out=out).path)


# ---- what stands in it -----------------------------------------------------------------------------------------------


def test_compile_leaves_a_page_with_every_part(classified: Path) -> None:
    found = read(classified / "report.html")
    assert [part["id"] for part in found.all("section")] == list(PARTS)
    assert [link["href"] for link in found.all("a") if "class" not in link] == [f"#{part}" for part in PARTS]
    for words in ("top1", "drop", "ort static", "Confidence", "Latency over the runs", "On worse pictures", "minmax"):
        assert words in found.shown
    assert "✓" in found.shown and "noise" in found.shown
    assert not [part for part in PARTS if not found.all("h2", id=f"{part}-title")]


@pytest.mark.parametrize("kind", ["classified", "detected", "parted", "several"])
def test_the_page_is_whole_and_speaks_to_everyone(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "several":
        builds = [request.getfixturevalue(name) for name in ("classified", "detected", "parted")]
        found = page(*builds, out=tmp_path / "page.html")
    else:
        found = read(request.getfixturevalue(kind) / "report.html")
    assert found.wrong == []
    marks = [element["id"] for _, element in found.elements if "id" in element]
    assert len(marks) == len(set(marks))
    assert all(element.get("aria-label") for element in found.all("figure"))
    assert found.all("figure") and all(element.get("aria-label") for element in found.all("svg", role="img"))
    assert len(found.all("svg")) == len(found.all("svg", role="img"))
    assert all(element.get("aria-label") for element in found.all("input"))
    assert all(
        element.get("tabindex") == "0" and element.get("aria-label") for element in found.all("div", class_="scroll")
    )
    assert found.all("html", lang="en") and found.all("meta", name="viewport")


def test_every_heading_of_a_table_is_a_button(classified: Path) -> None:
    text = (classified / "report.html").read_text(encoding="utf-8")
    tables = re.findall(r'<table[^>]*class="sortable".*?</thead>', text, re.DOTALL)
    assert len(tables) > 6
    for table in tables:
        heads = re.findall(r"<th[ >].*?</th>", table)
        assert heads and all(
            re.fullmatch(r'<th scope="col"[^>]*><button type="button">.+</button></th>', h) for h in heads
        )


def test_nothing_is_loaded_from_anywhere(classified: Path, detected: Path, tmp_path: Path) -> None:
    for path in (classified / "report.html", qdsl.report(classified, detected, out=tmp_path / "page.html").path):
        text = path.read_text(encoding="utf-8")
        assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text
        found = Page(text)
        assert not found.all("link") and not [s for s in found.all("script") if "src" in s]
        sources = [e[name] for _, e in found.elements for name in ("src", "href") if name in e]
        assert all(source.startswith(("#", "data:image/jpeg;base64,")) for source in sources)
        (policy,) = (meta["content"] for meta in found.all("meta", http_equiv="Content-Security-Policy"))
        (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
        wanted = f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:"
        assert policy.startswith("default-src 'none'; ") and wanted in policy and "unsafe" not in policy
        assert not [e for _, e in found.elements if "style" in e or any(name.startswith("on") for name in e)]


def test_the_same_files_give_the_same_bytes(classified: Path, tmp_path: Path) -> None:
    again = qdsl.report(classified, out=tmp_path / "again.html").path
    assert again.read_bytes() == (classified / "report.html").read_bytes()
    moved = Path(shutil.copytree(classified, tmp_path / "elsewhere"))
    assert qdsl.report(moved).path.read_bytes() == again.read_bytes()
    assert str(classified.parent.parent) not in again.read_text(encoding="utf-8")


# ---- what is not there -----------------------------------------------------------------------------------------------


def test_what_was_not_measured_says_so(copied: Path) -> None:
    shown = page(copied).shown
    before, held = shown.lower().count("not measured"), shown.count("holds")

    def forget(content: dict[str, Any]) -> None:
        content["profiles"], content["evaluations"], content["pictures"] = [], [], {}
        content["builds"]["ort"]["outputs"] = content["builds"]["ort"]["layers"] = []

    assert "undecided" not in shown
    change(copied, forget)
    found = page(copied)
    assert found.wrong == [] and [part["id"] for part in found.all("section")] == list(PARTS)
    assert found.shown.lower().count("not measured") > before + 6
    assert "a budget is undecided" in found.shown and found.shown.count("holds") < held


def test_one_missing_value_is_one_cell(copied: Path) -> None:
    change(copied, lambda content: content["profiles"][0]["builds"]["ort"].update(peak_memory=None))
    text = qdsl.report(copied).path.read_text(encoding="utf-8")
    assert '<td class="figure missing" data-v="">not measured</td>' in text


def test_a_plan_and_pictures_may_be_gone(copied: Path) -> None:
    (copied / "plan.json").unlink()
    shutil.rmtree(copied / "pictures")
    shutil.rmtree(copied / "ort")
    found = page(copied)
    assert "There is no plan.json" in found.shown and "No picture of it is kept" in found.shown
    assert not found.all("image")


def test_values_that_are_infinite_are_words(copied: Path) -> None:
    def exact(content: dict[str, Any]) -> None:
        for found in content["builds"]["ort"]["layers"] + content["builds"]["ort"]["outputs"]:
            found["sqnr_db"] = "inf"
        content["evaluations"][0]["builds"]["ort"]["drops"]["top1"]["interval_95"] = ["nan", "nan"]

    change(copied, exact)
    found = page(copied)
    assert "equal" in found.shown and "unknown" in found.shown
    coordinates = [value for _, element in found.elements for name, value in element.items() if name in ("x", "y", "d")]
    assert not [value for value in coordinates if "nan" in value or "inf" in value]


@pytest.mark.slow
def test_a_broken_budget_still_leaves_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coloured(tmp_path)
    path = write(tmp_path, tilted(), "classification on val { require top1 >= 0.99 }", COLOURS, STEPS)
    assert main(["compile", str(path), "--out", str(tmp_path / "build"), "--no-lock"]) == 4
    told = capsys.readouterr().out.splitlines()
    assert told[-1].split() == ["report", str(tmp_path / "build" / "demo" / "report.html")]
    assert "broken" in read(tmp_path / "build" / "demo" / "report.html").shown


# ---- what may not be trusted -----------------------------------------------------------------------------------------


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    coloured(tmp_path, count=2)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name=EVIL, kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], [EVIL + "\u202e"], name="mean1"),
        helper.make_node("Flatten", [EVIL + "\u202e"], ["y"], name="flat1"),
    ]
    model = graph_of(nodes, ["y"], constants={"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)})
    for label, name in enumerate(("'\"><b>", "green", "blue")):
        shutil.move(tmp_path / "photos" / ("red", "green", "blue")[label], tmp_path / "photos" / name)
    path = write(tmp_path, model, "classification on val", 'folder "photos"')
    build = compiled(path).directory
    text = (build / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert found.wrong == [] and len(found.all("script")) == 1
    assert not found.all("img") and not found.all("b", onerror="alert(1)") and "\u202e" not in text
    assert not [name for _, element in found.elements for name in element if name.startswith("on")]
    assert EVIL in found.shown and "'\"><b>" in found.shown


def test_names_of_files_may_be_no_text(tmp_path: Path) -> None:
    coloured(tmp_path, count=2)
    try:
        (tmp_path / "photos/red/0.png").rename(tmp_path / "photos/red" / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("this file system takes names that are text only")
    found = read(compiled(write(tmp_path, tilted(), "classification on val", COLOURS, STEPS)).report)
    assert found.wrong == [] and "red/?.png" in found.shown


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in plain data: of long lists the first two."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list):
        for at, each in enumerate(value[:2]):
            yield from leaves(each, (*path, at))
    else:
        yield path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classified", "detected", "parted"])
def test_no_value_is_taken_on_trust(kind: str, request: pytest.FixtureRequest) -> None:
    text = (request.getfixturevalue(kind) / "measurements.json").read_text(encoding="utf-8")
    content = json.loads(text)
    paths = list(leaves(content))
    assert len(paths) > 100
    for path in paths:
        refused = 0
        for wrong in ({"a": 1}, [[1]], True, -5, 1e308, "../../x", None):
            place, last = content, path[-1]
            for key in path[:-1]:
                place = place[key]
            kept, place[last] = place[last], wrong
            try:
                checked(content)
            except UnfitError:
                refused += 1
            place[last] = kept
        assert refused >= 3, path


@pytest.mark.parametrize("size", [0, 1, 40, 0.3, 0.9, -2])
def test_a_file_that_is_cut_off_is_refused(size: float, copied: Path) -> None:
    content = (copied / "measurements.json").read_bytes()
    kept = int(size * len(content)) if 0 < size < 1 else int(size)
    (copied / "measurements.json").write_bytes(content[:kept])
    with pytest.raises(QdslError) as caught:
        qdsl.report(copied)
    (found,) = caught.value.diagnostics
    assert found.code == "measurements-file" and found.label


ODD_FILES = {
    "not UTF-8": b'{"format": 2, "recipe": "\xff"}',
    "another format": b'{"format": 1}',
    "not a number": b'{"format": NaN}',
    "a list": b"[]",
    "deep": b"[" * 100000,
    "long numbers": b'{"format": ' + b"1" * 5000 + b"}",
}


@pytest.mark.parametrize("content", ODD_FILES.values(), ids=ODD_FILES.keys())
def test_files_that_are_something_else_are_refused(content: bytes, copied: Path) -> None:
    (copied / "measurements.json").write_bytes(content)
    with pytest.raises(QdslError) as caught:
        qdsl.report(copied)
    assert [found.code for found in caught.value.diagnostics] == ["measurements-file"]


@pytest.mark.parametrize("name", ["ort/model.onnx", "plan.json", "pictures/000.jpg"])
def test_files_that_were_not_measured_are_refused(name: str, copied: Path) -> None:
    path = copied / name
    if path.suffix == ".json":
        path.write_text(path.read_text(encoding="utf-8").replace("minmax", "entropy"), encoding="utf-8")
    else:
        path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(QdslError) as caught:
        qdsl.report(copied)
    (found,) = caught.value.diagnostics
    assert found.code == "measurements-other" and name in found.headline


def test_what_is_read_is_what_was_written(classified: Path, detected: Path, parted: Path) -> None:
    for build in (classified, detected, parted):
        found = read_measurements(build / "measurements.json")
        assert parsed(document(found)) == found


# ---- samples ---------------------------------------------------------------------------------------------------------


def test_pictures_are_small_jpeg_files_of_what_is_shown(detected: Path) -> None:
    found = read_measurements(detected / "measurements.json")
    (evaluation,) = found.evaluations
    assert evaluation.odd
    for odd in evaluation.odd:
        content = (detected / "pictures" / odd.picture).read_bytes()
        assert found.pictures[odd.picture] == hashlib.sha256(content).hexdigest()
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "JPEG" and image.size == (320, 160)
        assert odd.views is not None and (odd.views.height, odd.views.width) == (320, 640)
    page = read(detected / "report.html")
    assert len(page.all("image")) == len({odd.picture for odd in evaluation.odd})
    assert len(page.all("use")) == len(page.all("image"))


def test_boxes_are_in_pixels_of_the_picture(detected: Path) -> None:
    (evaluation,) = read_measurements(detected / "measurements.json").evaluations
    odd = next(odd for odd in evaluation.odd if odd.sample.endswith("1.png"))
    assert odd.views is not None
    assert {box.label for box in odd.views.truth.boxes} == {0, 1}
    best = odd.views.float_answer.boxes[0]
    assert (best.x0, best.y0, best.x1, best.y1) == pytest.approx((0, 0, 320, 320), abs=1)
    assert best.score == pytest.approx(0.9, abs=1e-2)
    assert all((box.score or 0) >= 0.25 for box in (*odd.views.float_answer.boxes, *odd.views.answer.boxes))


def test_maps_lie_over_the_picture_as_it_was(tmp_path: Path) -> None:
    data = masked(tmp_path, 2)
    for part in ("images", "masks"):
        with Image.open(tmp_path / "road" / part / "a.png") as image:
            image.resize((32, 16), Image.Resampling.NEAREST).save(tmp_path / "road" / part / "a.png")
    path = write(tmp_path, nearly_tied(), "segmentation on val", data, "resize 8 letterbox")
    (odd,) = compiled(path).evaluations[0].odd
    assert odd.views is not None and odd.views.truth.cells is not None and odd.views.answer.cells is not None
    drawn = grid(odd.views.truth.cells)
    assert drawn.shape == (16, 32)
    assert [drawn[8, at] for at in (5, 16, 30)] == [0, 1, 2]
    assert (drawn[-1] == -1).all(), "row 7 of the mask is ignored"
    answer = grid(odd.views.answer.cells)
    assert answer[8, 5] == 0 and answer[8, 30] == 2 and (answer >= 0).all()


def nearly_tied() -> ModelProto:
    """`segmenter` in which red is close behind green: where colours mix at an edge, the build takes one for the
    other."""
    node = helper.make_node("Conv", ["images", "w"], ["y"], name="conv1", kernel_shape=[1, 1])
    weights = np.array([[1, 0.9, 0], [0, 1, 0], [0, 0, 1]], np.float32).reshape(3, 3, 1, 1)
    return graph_of([node], ["y"], constants={"w": weights})


def grid(cells: ClassMap) -> np.ndarray[Any, Any]:
    """The class of each cell."""
    labels = np.repeat([label for label, _ in cells.runs], [count for _, count in cells.runs])
    return labels.reshape(cells.height, cells.width)


def test_pictures_of_another_time_are_removed(tmp_path: Path) -> None:
    coloured(tmp_path)
    path = write(tmp_path, tilted(), "classification on val", COLOURS, STEPS)
    build = compiled(path).directory
    kept = {file.name for file in (build / "pictures").iterdir()}
    assert kept and kept == set(read_measurements(build / "measurements.json").pictures)
    (build / "pictures" / "mine.txt").write_text("a note")
    (build / "pictures" / "999.jpg").write_bytes(b"old")
    qdsl.compile(path, out=tmp_path / "build", lock=False, measure=False)
    assert {file.name for file in (build / "pictures").iterdir()} == {"mine.txt"}


def test_memory_is_kept_over_the_runs(classified: Path) -> None:
    (profile,) = read_measurements(classified / "measurements.json").profiles
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not say how much memory a process holds")
    for build in profile.builds:
        assert [done for done, _ in build.memory_runs] == [0, 1, 2, 3, 4, 5, 6]
        assert all(held > 1 << 20 for _, held in build.memory_runs)


# ---- several builds --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier again, in fewer bits."""
    folder = tmp_path_factory.mktemp("coarse")
    coloured(folder)
    path = write(folder, tilted(), EVALUATE, COLOURS, STEPS)
    text = path.read_text(encoding="utf-8").replace("recipe demo", "recipe other")
    text = text.replace("activations uint8", "activations 6 bit")
    other = path.with_name("other.q")
    other.write_text(text, encoding="utf-8")
    return qdsl.compile(other, out=folder / "build", lock=False).directory


def test_several_builds_stand_side_by_side(classified: Path, coarse: Path, tmp_path: Path) -> None:
    found = page(classified, coarse, out=tmp_path / "page.html")
    assert [part["id"] for part in found.all("section")] == ["summary", "accuracy", "speed", "build"]
    for words in ("2 builds side by side", "demo", "other", "Accuracy against size", "Drop of top1", "Latency", "top1"):
        assert words in found.shown
    assert "do not compare" not in found.shown and "scores differently" not in found.shown
    labels = [element["aria-label"] for element in found.all("svg")]
    assert any("demo" in label and "other" in label and "float" in label for label in labels)


def test_what_does_not_compare_is_said(classified: Path, copied: Path, tmp_path: Path) -> None:
    def elsewhere(content: dict[str, Any]) -> None:
        content["profiles"][0]["environment"]["processor"] = "another"
        content["evaluations"][0]["builds"]["float"]["scores"]["top1"] = 0.1

    change(copied, elsewhere)
    found = page(classified, copied, out=tmp_path / "page.html")
    assert "times do not compare" in found.shown and "scores differently" in found.shown
    assert "demo (1)" in found.shown and "demo (2)" in found.shown


def test_the_verb_says_where_the_page_is(
    classified: Path, coarse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(classified), str(coarse)]) == 0
    assert capsys.readouterr().out.split() == ["report", "comparison.html"]
    assert main(["report", str(classified), "--out", "deep/page.html", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == "deep/page.html" and Path("deep/page.html").is_file()
    assert [b["verdict"] for b in told["builds"][0]["targets"]["ort"]["budgets"]] == ["holds", "holds"]


def test_every_folder_that_is_wrong_is_named(
    classified: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    words = [str(tmp_path / "empty"), str(classified), str(tmp_path / "nowhere")]
    assert main(["report", *words, "--out", str(tmp_path / "page.html"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["diagnostics"]
    assert [found["code"] for found in told] == ["measurements-missing", "measurements-missing"]
    assert "empty" in told[0]["headline"] and "nowhere" in told[1]["headline"]
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(ValueError, match="at least one"):
        qdsl.report()


# ---- axes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.4996, 0.5004), (-3e-7, 9e-7), (1e9, 7e12), (5, 5), (0, 0), (-1, -1), (0, 1e-300)]
)
def test_marks_are_round_and_cover_the_values(low: float, high: float) -> None:
    marks = ticks(low, high)
    assert 2 <= len(marks) <= 8
    assert marks[0] <= low + abs(low) * 1e-9 and marks[-1] >= high - abs(high) * 1e-9
    step = marks[1] - marks[0]
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert any(digits == pytest.approx(times, rel=1e-6) for times in (1, 2, 5, 10))


def test_marks_are_told_apart_by_their_words() -> None:
    for values in ((0.4996, 0.5004), (0, 1e6), (-2, 3), (0, 0.001)):
        found = axis("", values)
        assert len({found.words(mark) for mark in found.marks}) == len(found.marks)
    assert axis("", [math.nan, math.inf]).marks[0] == 0.0


# what the page opens with, and the recipe


def opening(path: Path) -> str:
    """The first sentence of the content."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<section id="summary".*?<p class="lead advice">(.*?)</p>', text, re.DOTALL)
    assert found is not None
    return unescape(found[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("evaluate fidelity on calib { require sqnr >= 1 dB }\n", "Ship it: its budget holds, with"),
        (
            "evaluate fidelity on calib { require sqnr >= 1 dB; require cosine >= 0.1 }\n",
            "Ship it: both budgets hold, the tightest with",
        ),
        (
            "evaluate fidelity on calib { require sqnr >= 200 dB }\n",
            "Do not ship it yet: `sqnr >= 200 dB` is broken on ort",
        ),
        ("target ort { require energy <= 1 J }\n", "Undecided: `energy <= 1 J` still has to be measured"),
        (
            'target ort { device "pi"; require latency <= 1 s }\n',
            "on pi: copy `ort/` there, run `python bench/bench.py`",
        ),
        ("", "Decide what must hold: the recipe has no `require`"),
    ],
)
def test_the_page_opens_with_what_to_do(rules: str, says: str, tmp_path: Path) -> None:
    head = HEAD.replace("target ort\n", "") if "target" in rules else HEAD
    result = qdsl.compile(project(tmp_path, rules, head=head), out=tmp_path / "build", lock=False)
    assert says in opening(result.report)


@pytest.mark.slow
def test_a_comparison_opens_with_which_to_take(tmp_path: Path) -> None:
    rules = "evaluate fidelity on calib {{ require sqnr >= {} dB }}\n"
    one = qdsl.compile(project(tmp_path / "a", rules.format(1)), out=tmp_path / "a" / "build", lock=False).directory
    two = qdsl.compile(project(tmp_path / "b", rules.format(200)), out=tmp_path / "b" / "build", lock=False).directory
    assert opening(qdsl.report(one, two, out=tmp_path / "page.html").path).startswith("Take demo (1): of 1 build")
    assert "None of 2 builds" in opening(qdsl.report(two, two, out=tmp_path / "other.html").path)


def test_the_recipe_stands_in_the_page_with_its_parameters(tmp_path: Path) -> None:
    rules = "param bits = int8 from [int8, int4]\nkeep op Gemm in float32  # </code><script>alert(1)</script>\n"
    result = qdsl.compile(project(tmp_path, rules), out=tmp_path / "build", lock=False, sets={"bits": "int8"})
    found = read(result.report)
    assert found.wrong == [] and len(found.all("script")) == 1
    shown = "\n".join(data for tag, data in found.texts if tag == "code")
    assert "# bits = int8" in shown and "calibrate minmax on calib" in shown and "alert(1)" in shown
    (result.directory / "recipe.txt").unlink()
    assert "There is no recipe.txt" in read(qdsl.report(result.directory).path).shown


def test_a_layer_is_followed_by_its_signal_to_noise(classified: Path) -> None:
    text = (classified / "report.html").read_text(encoding="utf-8")
    table = text[text.index('id="layers-ort"') :]
    heads = re.findall(r'<button type="button">(.*?)</button>', table[: table.index("</thead>")])
    assert heads[:3] == ["layer", "SQNR", "operator"]
