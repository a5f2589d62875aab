"""Labels in YOLO's form: a line per box: class, centre x, centre y, width and height as fractions of the picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Row = tuple[int, float, float, float, float]


def label_text(rows: Iterable[Row]) -> str:
    return "".join(f"{kind} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for kind, x, y, w, h in rows)


def write_scene(out: Path, split: str, index: int, jpeg: bytes, rows: Iterable[Row]) -> None:
    """Write `images/<split>/<index>.jpg` and its label under `out`."""
    for folder in ("images", "labels"):
        (out / folder / split).mkdir(parents=True, exist_ok=True)
    (out / "images" / split / f"{index:05d}.jpg").write_bytes(jpeg)
    label = out / "labels" / split / f"{index:05d}.txt"
    label.write_text(label_text(rows), encoding="utf-8", newline="\n")


def read_scenes(data: Path, split: str) -> list[tuple[Path, NDArray[np.float32]]]:
    """The pictures of a split in order of names, each with its boxes (boxes, 5)."""
    images = sorted((data / "images" / split).glob("*.jpg"))
    if not images:
        raise SystemExit(f"no pictures in {data / 'images' / split}")
    return [(path, read_label(data / "labels" / split / f"{path.stem}.txt")) for path in images]


def read_label(path: Path) -> NDArray[np.float32]:
    """(boxes, 5) class, then centre x, centre y, width and height as fractions."""
    rows = [[float(word) for word in line.split()] for line in path.read_text(encoding="utf-8").splitlines()]
    return np.array(rows, dtype=np.float32).reshape(-1, 5)
