"""The memory that pictures take: bounded by format, one large one at a time, read in strips."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compile_tools import ROOT, environment
from data_cases import picture
from PIL import Image

from qdsl.data import image
from qdsl.data.types import Item
from qdsl.diag import QdslError

# The peak of the process itself, in MiB, after a dataset of large pictures was read by several threads.
PROGRAM = """
import sys
from pathlib import Path
import qdsl.data
from qdsl.diag import Span
from qdsl.lang.recipe import DataSpec, InputSpec, InputStep

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

span = Span("r.q", 1, 1, 1, 2)
spec = DataSpec("d", "images", (sys.argv[1],), span)
block = InputSpec(None, (InputStep("resize", (8, 8, "stretch"), span), InputStep("rescale", (1 / 255,), span)), span)
dataset = qdsl.data.open(spec, (block,), {"x": ("float32", (1, 3, 8, 8))})
before = peak()
print(sum(sample.arrays["x"].size for sample in dataset.prefetch(6)), peak() - before)
"""


# The formats that take most of those that take as much as others, by the pixels of a side, as Pillow saves them.
COSTLY: dict[str, tuple[int, str, dict[str, Any]]] = {
    "progressive.jpg": (6600, "CMYK", {"progressive": True, "subsampling": 0}),
    "strip.tif": (8000, "RGBA", {"compression": "tiff_lzw", "tiffinfo": {278: 8000}, "strip_size": 2**31 - 1}),
    "lossless.webp": (5700, "RGBA", {"lossless": True, "method": 0}),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("name", COSTLY)
def test_the_largest_picture_of_each_format_stays_in_bounds(tmp_path: Path, name: str) -> None:
    side, mode, options = COSTLY[name]
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    pixels = Image.fromarray(noise).resize((side, side), Image.Resampling.NEAREST).convert(mode)
    pixels.save(tmp_path / name, **options)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=True)
    assert int(done.stdout.split()[1]) * 2**20 < image.MAX_BYTES + 2 * (tmp_path / name).stat().st_size
    pixels.resize((side + 200, side + 200)).save(tmp_path / name, **options)
    with pytest.raises(QdslError, match="image-bomb"):
        image.decode(tmp_path / name, name, None)


@pytest.mark.parametrize(
    ("name", "each"),
    [
        ("a.jpg", image.USUAL),
        ("b.jpg", image.WIDE),
        ("c.webp", image.WEBP),
        ("d.png", image.USUAL),
        ("e.tif", image.USUAL),
        ("f.ppm", image.WIDE),
        ("g.ppm", image.USUAL),
    ],
)
def test_what_a_pixel_takes(tmp_path: Path, name: str, each: int) -> None:
    """Progressive JPEG and PPM that is no plain copy of bytes take more, WebP most."""
    if name == "f.ppm":
        (tmp_path / name).write_bytes(b"P3\n8 6\n255\n" + b"1 2 3 " * 48)
    else:
        picture(tmp_path / name, **({"progressive": True} if name == "b.jpg" else {}))
    with Image.open(tmp_path / name) as opened:
        assert image.require_room(opened, name, None) == 48 * each


def test_a_small_picture_of_a_huge_tile(tmp_path: Path) -> None:
    """A TIFF of 64 x 64 pixels whose one tile has 9,000 x 9,000: the decoder would hold all of it."""
    values = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 9000, 323: 9000, 324: 8, 325: 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    head = b"II*\0" + struct.pack("<I", 12) + bytes(4)
    (tmp_path / "a.tif").write_bytes(head + struct.pack("<H", len(values)) + entries + bytes(4))
    for read in (image.decode, image.picture_size):
        with pytest.raises(QdslError, match="a tile of more than 64 megapixels"):
            read(tmp_path / "a.tif", "a.tif", None)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_six_pictures_of_64_megapixels_take_half_a_gibibyte(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((8000, 8000, 3), np.uint8)
    pixels[::50, ::70] = 255
    Image.fromarray(pixels).save(tmp_path / f"0.{suffix}", compress_level=1)
    for index in range(1, 6):
        (tmp_path / f"{index}.{suffix}").hardlink_to(tmp_path / f"0.{suffix}")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=True)
    values, peak = map(int, done.stdout.split())
    assert values == 6 * 3 * 64
    assert peak < 560


def test_large_pictures_wait_for_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "LARGE", 40 * image.USUAL)
    for name, size in (("large.png", (8, 6)), ("small.png", (8, 5))):
        picture(tmp_path / name, size)
    begun, held, others = threading.Event(), threading.Event(), []

    def read(name: str, use: Callable[[Any], Any]) -> threading.Thread:
        thread = threading.Thread(target=lambda: image.with_pixels(Item(name, tmp_path / name), None, use))
        thread.start()
        return thread

    first = read("large.png", lambda pixels: begun.set() or held.wait(20))
    assert begun.wait(20)
    second = read("large.png", lambda pixels: others.append(pixels.shape))
    read("small.png", lambda pixels: others.append(pixels.shape)).join(20)
    assert others == [(5, 8, 3)] and first.is_alive()
    held.set()
    first.join(20)
    second.join(20)
    assert others == [(5, 8, 3), (6, 8, 3)]


def test_errors_of_large_pictures_are_those_of_small_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "LARGE", 40 * image.USUAL)
    picture(tmp_path / "a.png", (80, 60))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    with pytest.raises(QdslError, match="image-broken"):
        image.with_pixels(Item("a.png", tmp_path / "a.png"), None, lambda pixels: None)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK", "I;16"])
def test_pictures_in_strips_are_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int, mode: str
) -> None:
    """Against Pillow's own turning and converting of the whole picture."""
    noise = np.random.default_rng(3).integers(0, 256, (13, 7, 3), dtype=np.uint8)
    made = (
        Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(noise).convert(mode)
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    made.save(tmp_path / "a.tif", exif=exif)
    monkeypatch.setattr(image, "_STRIP", 20)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    upright = made.transpose(Image.Transpose(turns[orientation])) if orientation in turns else made
    grey = mode == "I;16"
    expected = (
        np.repeat((np.asarray(upright) >> 8)[:, :, None], 3, axis=2) if grey else np.asarray(upright.convert("RGB"))
    )
    found = image.decode(tmp_path / "a.tif", "a", None)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)
