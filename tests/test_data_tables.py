"""Tables of pictures (`csv`) and frames of videos (`video`)."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import data_spec, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_data_sources import RESIZE, opened

import qdsl.data
from qdsl.data.corrupt import Corruption, corrupted
from qdsl.data.table import table
from qdsl.diag import Diagnostics, QdslError
from qdsl.harness.pictures import thumbnail


def tabled(root: Path, text: str, pictures: tuple[str, ...] = ("a.png", "b/c.png", "d.png")) -> Path:
    for at, name in enumerate(pictures):
        picture(root / name, seed=at)
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return root / "labels.csv"


def classes_of(dataset: qdsl.data.Dataset) -> dict[str, int]:
    return {name: dataset.labels(at)[0].index for at, name in enumerate(dataset.ids)}


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nd.png,dog\na.png,cat\nb/c.png,dog\n",
        "\ufefflabel;file\r\ndog;d.png\r\n\r\ncat;a.png\r\ndog;./b/c.png\r\n",
        'Filename\tweight\tClass\nd.png\t1\tdog\na.png\t2\tcat\n"b/c.png"\t3\t"dog"\n',
        "image_path, category\nd.png, dog\na.png, cat\nx/../b/c.png, dog",
        "Image-Path|Species|split\nd.png|dog|x\na.png|cat|x\nb/c.png|dog|x\n",
        "id,breed\nd,dog\na,cat\nb/c,dog\n",
        ",Image Name,Class ID,width\n0,d.png,dog,3\n1,a.png,cat,3\n2,b/c.png,dog,3\n",
    ],
)
def test_files_and_their_classes(tmp_path: Path, text: str) -> None:
    dataset = opened(data_spec("csv", tabled(tmp_path, text)))
    assert dataset.ids == ("a.png", "b/c.png", "d.png") and dataset.classes == ("cat", "dog")
    assert classes_of(dataset) == {"a.png": 0, "b/c.png": 1, "d.png": 1}
    assert dataset.sample(1).arrays["images"].shape == (1, 3, 8, 8)


def test_columns_splits_and_a_folder_of_their_own(tmp_path: Path) -> None:
    text = "id,what,split\na.png,dog,train\nd.png,cat,val\nb/c.png,cat,train\n"
    (tmp_path / "tables").mkdir()
    file = tabled(tmp_path, text).rename(tmp_path / "tables/labels.csv")
    spec = data_spec("csv", file, tmp_path, columns=("id", "what"), split="train")
    dataset = opened(spec)
    assert classes_of(dataset) == {"a.png": 1, "b/c.png": 0} and dataset.classes == ("cat", "dog")
    with pytest.raises(QdslError, match="data-split"):
        opened(data_spec("csv", file, tmp_path, columns=("id",), split="test"))
    whole = opened(data_spec("csv", file, tmp_path))
    assert classes_of(whole) == {"a.png": 1, "b/c.png": 0, "d.png": 0}, "the only other column has the labels"
    with pytest.raises(QdslError, match="no column"):
        opened(data_spec("csv", file, tmp_path, columns=("ids", "what")))


def test_a_table_as_spreadsheets_write_unicode_text(tmp_path: Path) -> None:
    file = tabled(tmp_path, "")
    file.write_bytes("file\tlabel\r\na.png\tčáp\r\nd.png\t鹤\r\n".encode("utf-16"))
    assert opened(data_spec("csv", file)).classes == ("čáp", "鹤")
    file.write_bytes("file,label\na.png,café\n".encode("latin-1"))
    with pytest.raises(QdslError, match="data-unreadable") as caught:
        opened(data_spec("csv", file))
    assert caught.value.diagnostics[0].help == ("save it as UTF-8",)


def test_a_table_without_names_of_columns(tmp_path: Path) -> None:
    with pytest.raises(QdslError, match="data-csv") as caught:
        opened(data_spec("csv", tabled(tmp_path, "a.png,cat\nd.png,dog\n")))
    assert "the first line is a row already" in caught.value.diagnostics[0].help[1]


def test_classes_give_the_order_and_leave_rows_out(tmp_path: Path) -> None:
    file = tabled(tmp_path, "file,label\na.png,cat\nb/c.png,dog\nd.png,cow\n")
    dataset = opened(data_spec("csv", file, classes=("dog", "cat")))
    assert classes_of(dataset) == {"a.png": 1, "b/c.png": 0} and dataset.classes == ("dog", "cat")
    assert dataset.skipped == ("d.png: none of the classes",)
    with pytest.raises(QdslError, match="data-class"):
        opened(data_spec("csv", file, classes=("dgo",)))


def test_numbers_are_classes_as_they_stand(tmp_path: Path) -> None:
    file = tabled(tmp_path, "file,label\na.png,7\nb/c.png,2\nd.png,07\n")
    dataset = opened(data_spec("csv", file))
    assert classes_of(dataset) == {"a.png": 7, "b/c.png": 2, "d.png": 7} and dataset.classes == ()
    named = opened(data_spec("csv", file, classes=tuple("abcdefgh")))
    assert classes_of(named) == classes_of(dataset) and named.classes == tuple("abcdefgh")
    with pytest.raises(QdslError, match="the label 7 is no class"):
        opened(data_spec("csv", file, classes=("a", "b")))


def test_a_table_without_labels_calibrates(tmp_path: Path) -> None:
    dataset = opened(data_spec("csv", tabled(tmp_path, "file\na.png\nd.png\n")))
    assert dataset.ids == ("a.png", "d.png") and dataset.labels(0) == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("file,label\na.png,cat\nb/c.png\n", 3),
        ("file,label\na.png,cat,dog\n", 2),
        ("file,label\na.png,\n", 2),
        ("file,label\na.png,cat\n\na.png,dog\n", 4),
        ('file,label\na.png,"cat\n', 2),
        ('file,label\na.png,"cat"s\n', 2),
        ("file,label\na.png," + "x" * 300 + "\n", 2),
        ("file,label\na.png,c\x00at\n", 2),
        ("file,label\na.png," + "9" * 5000 + "\n", 2),
        ("file,label\na.png," + "x" * 200_000 + "\n", 2),
    ],
)
def test_rows_that_cannot_be_are_told_at_their_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(QdslError) as caught:
        opened(data_spec("csv", tabled(tmp_path, text)))
    (found,) = caught.value.diagnostics
    assert found.code == "data-csv" and found.span is not None and found.span.line == line


@pytest.mark.parametrize(
    ("file", "code"), [("../x.png", "data-escape"), ("/etc/x.png", "data-escape"), ("a" * 300 + ".png", "data-name")]
)
def test_files_of_a_table_lie_in_its_folder(tmp_path: Path, file: str, code: str) -> None:
    with pytest.raises(QdslError, match="line 2, lists") as caught:
        opened(data_spec("csv", tabled(tmp_path, f"file\n{file}\n")))
    assert [d.code for d in caught.value.diagnostics] == [code]


@given(st.text(alphabet="file,label\n\r\"'; \tabc.\0é7", max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_text_as_a_table_is_read_or_gives_a_diagnostic(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("table") / "labels.csv"
    file.write_text(f"file,label\n{text}", encoding="utf-8", newline="")
    try:
        assert all(len(item.labels()) == 1 for item in table(data_spec("csv", file)).items)
    except QdslError as error:
        assert {d.code for d in error.diagnostics} <= {"data-csv", "data-name", "data-escape"}


def test_take_without_seed_warns_where_it_shows_few_classes(tmp_path: Path) -> None:
    for kind in ("circle", "line", "square", "star"):
        for index in range(5):
            picture(tmp_path / f"d/{kind}/{index}.png", seed=10 * len(kind) + index)
    for wanted, warned in (
        ({"take": (5, None)}, True),
        ({"take": (19, None)}, False),
        ({"take": (1, None)}, False),
        ({"take": (5, 1)}, False),
        ({"take": (8, None), "balance": True}, False),
        ({"take": (5, None), "oversample": (("circle", 2),)}, True),
    ):
        diags = Diagnostics()
        dataset = opened(data_spec("folder", tmp_path / "d", **wanted), diags=diags)
        found = [d for d in diags if d.code == "take-classes"]
        assert bool(found) == warned, wanted
        if warned:
            shown = len({dataset.labels(at)[0].index for at in range(len(dataset))})
            assert f"shows {shown} of the 4 classes" in found[0].headline and "seed 1" in found[0].help[0]


# ---- video -----------------------------------------------------------------------------------------------------------


def clip(path: Path, frames: int = 40, *, codec: str = "mpeg4", apart: int = 12, rate: int = 10) -> None:
    """A small video: frame n is a grey of 6 n, with a white block at the top left."""
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", apart
        for number in range(frames):
            pixels = np.full((48, 64, 3), 6 * number, np.uint8)
            pixels[:16, :16] = 255
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())


def seen(path: Path) -> list[Any]:
    """Every frame, as PyAV gives them one after another."""
    import av

    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def greys(dataset: qdsl.data.Dataset, order: list[int]) -> list[int]:
    """The number that each frame was made from, from its grey, which the codec changes a little."""
    return [round(float(dataset.sample(at).arrays["images"][0, :, 6, 6].mean()) / 60) * 10 for at in order]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov"])
def test_frames_in_any_order_are_the_same_frames(tmp_path: Path, name: str) -> None:
    clip(tmp_path / name)
    dataset = opened(data_spec("video", tmp_path / name))
    assert len(dataset) == 40 and dataset.ids[:2] == (f"{name}[0]", f"{name}[1]")
    every = seen(tmp_path / name)
    for number in [0, 1, 2, 30, 29, 5, 39, 12, 11, 13, 13, 38]:
        expected = np.asarray(Image.fromarray(every[number]).resize((8, 8), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(dataset.sample(number).arrays["images"][0], expected.transpose(2, 0, 1))
    assert dataset.file(7) == (name, tmp_path / name) and dataset.size(0) == (48, 64)


def test_one_frame_in_so_many_of_several_files(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/c.mp4", "a/d.mkv", "a/e.mp4", "f.mp4"):
        clip(tmp_path / name, 25)
    dataset = opened(data_spec("video", tmp_path, every=10))
    assert dataset.ids[:4] == ("a/c.mp4[0]", "a/c.mp4[10]", "a/c.mp4[20]", "a/d.mkv[0]") and len(dataset) == 15
    assert greys(dataset, list(range(15))) == [0, 10, 20] * 5
    drawn = opened(data_spec("video", tmp_path, every=10, take=(6, 3)))
    assert len(drawn) == 6 and set(drawn.ids) < set(dataset.ids)
    assert greys(drawn, [0, 1]) == [int(name.split("[")[1][:-1]) for name in drawn.ids[:2]]


def test_threads_read_the_frames_that_one_reads(tmp_path: Path) -> None:
    clip(tmp_path / "a.mp4", 40)
    dataset = opened(data_spec("video", tmp_path / "a.mp4", every=3))
    ahead = [sample.arrays["images"] for sample in dataset.prefetch(4)]
    for one, other in zip(dataset, ahead, strict=True):
        np.testing.assert_array_equal(one.arrays["images"], other)
    assert threading.active_count() < 20


def test_frames_between_frames_come_in_the_order_they_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    import av

    if "libx264" not in av.codec.codecs_available:
        pytest.skip("this PyAV writes no H.264")
    clip(tmp_path / "a.mp4", codec="libx264", apart=15)
    dataset = opened(data_spec("video", tmp_path / "a.mp4"))
    every = seen(tmp_path / "a.mp4")
    for number in [17, 3, 16, 15, 14, 39]:
        expected = np.asarray(Image.fromarray(every[number]).resize((8, 8), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(dataset.sample(number).arrays["images"][0], expected.transpose(2, 0, 1))


def test_frames_are_pictures_to_everything_else(tmp_path: Path) -> None:
    clip(tmp_path / "a.mp4", 4)
    dataset = opened(data_spec("video", tmp_path / "a.mp4"), RESIZE)
    small = thumbnail(dataset, 2, None)
    changed = corrupted(dataset, Corruption("noise", 3))
    assert small is not None and small[:2] == b"\xff\xd8" and changed is not None
    assert not np.array_equal(changed.sample(1).arrays["images"], dataset.sample(1).arrays["images"])


def test_video_needs_its_extra_and_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    picture(tmp_path / "a.png")
    assert len(opened(data_spec("images", tmp_path))) == 1
    with pytest.raises(QdslError, match="video-absent") as caught:
        opened(data_spec("video", tmp_path / "a.mp4"))
    assert "[video]" in caught.value.diagnostics[0].help[0]


@pytest.mark.parametrize("name", ["a.m3u8", "a.txt", "a.png"])
def test_what_is_no_video_by_its_name_is_not_opened(tmp_path: Path, name: str) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    (tmp_path / name).write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n")
    with pytest.raises(QdslError, match="no video by its name"):
        opened(data_spec("video", tmp_path / name))


@pytest.mark.slow
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_bent_videos_read_or_give_a_diagnostic(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("bent")
    name = data.draw(st.sampled_from(["a.mp4", "a.mkv", "a.avi"]))
    clip(root / name, 6)
    raw = bytearray((root / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (root / name).write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)

    def read() -> Any:
        return [sample.arrays["images"].shape for sample in opened(data_spec("video", root / name))]

    try:
        assert all(shape == (1, 3, 8, 8) for shape in read())
    except QdslError as error:
        assert {d.code for d in error.diagnostics} <= {"video-broken", "data-empty", "image-bomb", "data-size"}
