"""What a float model and a folder of data let us guess for a first recipe: preprocessing, decoding, datasets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qdsl.data.image import SUFFIXES
from qdsl.graph.structure import decode_head
from qdsl.graph.view import GraphView

_DETECTOR_SIDE, _CLASSIFIER_SIDE = 640, 224
_MANY = 300  # samples that calibrate
_CHANNELS = (1, 3)
_MOST_LOOKED_AT = 2000
_VALIDATION = ("val", "valid", "validation", "test")
_LABELS = ("label", "labels", "y", "target", "targets")


@dataclass(frozen=True, slots=True)
class Picture:
    """A model input that looks like a picture. `fixed` says that its height and width are no free dimensions."""

    name: str
    height: int
    width: int
    channels: int
    last: bool
    fixed: bool
    floats: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Data that was found: the source, the path, what stands in the two `data` blocks, and which task the labels are
    for ("" for none). `apart`: calibration and validation are different samples."""

    source: str
    path: Path
    calib: str
    val: str
    task: str
    apart: bool
    val_path: Path | None = None

    def whole(self) -> Found:
        """The same, all of it: there is less than would be drawn."""
        parts = [part for part in self.calib.split("; ") if part and not part.startswith("take")]
        return replace(self, calib="; ".join(parts))

    @property
    def validates_on(self) -> Path:
        return self.val_path or self.path


def is_detector(view: GraphView) -> bool:
    return bool(decode_head(view))


def pictures(view: GraphView) -> tuple[Picture, ...]:
    """The inputs that look like pictures, in the order of the model."""
    return tuple(found for name in view.inputs if (found := _picture(view, name)) is not None)


def _picture(view: GraphView, name: str) -> Picture | None:
    info = view.tensors[name]
    if info.shape is None or len(info.shape) != 4:
        return None
    _, *dims = info.shape
    last = dims[-1] in _CHANNELS and dims[0] not in _CHANNELS
    channels = dims[-1] if last else dims[0]
    if channels not in _CHANNELS or not isinstance(channels, int):
        return None
    height, width = (dims[0], dims[1]) if last else (dims[1], dims[2])
    fixed = isinstance(height, int) and isinstance(width, int)
    side = _DETECTOR_SIDE if is_detector(view) else _CLASSIFIER_SIDE
    tall, wide = (height if isinstance(height, int) else side), (width if isinstance(width, int) else side)
    return Picture(name, tall, wide, channels, last, fixed, (info.dtype or "float32").startswith("float"))


def decoding(view: GraphView) -> str:
    """How the only output becomes boxes, by its shape: (N, 4 + classes, anchors) or (N, anchors, 5 + classes); "" when
    it is neither."""
    if len(view.outputs) != 1:
        return ""
    shape = view.tensors[view.outputs[0]].shape or ()
    if len(shape) != 3 or not all(isinstance(dim, int) for dim in shape[1:]):
        return ""
    first, second = int(str(shape[1])), int(str(shape[2]))
    if 5 <= first < second:
        return "yolov8"
    return "yolox" if 6 <= second < first else ""


def data_of(folder: Path, view: GraphView) -> Found | None:
    """What `folder` (or a file) holds, by what lies in it; None when nothing that a recipe can read."""
    for look in (_yolo, _coco, _masks, _folders, _arrays, _plain):
        found = look(folder, view)
        if found is not None:
            return found
    return None


def _take(count: int) -> str:
    return f"take {count} seed 7"


def _yolo(folder: Path, view: GraphView) -> Found | None:
    files = [folder] if folder.suffix in (".yaml", ".yml") else sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        heads = {line.split(":")[0].strip() for line in text.splitlines() if ":" in line and line[:1].strip()}
        if not {"train", "names"} <= heads and not {"val", "names"} <= heads:
            continue
        train = "train" if "train" in heads else "val"
        val = next((split for split in _VALIDATION if split in heads), train)
        return Found("yolo", file, f"split {train}; {_take(_MANY)}", f"split {val}", "detection", train != val)
    return None


def _coco(folder: Path, view: GraphView) -> Found | None:
    noted = folder / "annotations" if folder.is_dir() else folder
    splits = [file.stem.removeprefix("instances_") for file in sorted(noted.glob("instances_*.json"))]
    if splits:
        train = next((split for split in splits if split.startswith("train")), splits[0])
        val = next((split for split in splits if split.startswith("val")), train)
        return Found("coco", folder, f'split "{train}"; {_take(_MANY)}', f'split "{val}"', "detection", train != val)
    files = [folder] if folder.suffix == ".json" else sorted(folder.glob("*.json")) if folder.is_dir() else []
    for file in files:
        try:
            keys = json.loads(file.read_bytes()).keys() if file.stat().st_size < 1 << 26 else ()
        except (OSError, ValueError, AttributeError):
            continue
        if {"images", "annotations", "categories"} <= set(keys):
            return Found("coco", file, _take(_MANY), "", "detection", False)
    return None


def _masks(folder: Path, view: GraphView) -> Found | None:
    if (folder / "images").is_dir() and (folder / "masks").is_dir():
        splits = [path.name for path in _subfolders(folder / "masks")]
        if not splits:
            return Found("masks", folder, _take(_MANY), "", "segmentation", False)
        train, val = _train_and_val(splits)
        return Found("masks", folder, f"split {train}; {_take(_MANY)}", f"split {val}", "segmentation", train != val)
    above = [path.name for path in _subfolders(folder) if (path / "images").is_dir() and (path / "masks").is_dir()]
    if not above:
        return None
    train, val = _train_and_val(above)
    return Found("masks", folder, f"split {train}; {_take(_MANY)}", f"split {val}", "segmentation", train != val)


def _folders(folder: Path, view: GraphView) -> Found | None:
    """One folder per class, or splits above them."""
    below = _subfolders(folder)
    splits = [path.name for path in below if path.name in ("train", *_VALIDATION) and _classes(path)]
    if splits:
        train, val = _train_and_val(splits)
        calib = f"split {train}; {_take(_MANY)}"
        return Found("folder", folder, calib, f"split {val}", "classification", train != val)
    classes = _classes(folder)
    if len(classes) < 2 or len(classes) < len(below):
        return None
    return Found("folder", folder, _take(_MANY), "", "classification", False)


def _arrays(folder: Path, view: GraphView) -> Found | None:
    files = [folder] if folder.suffix == ".npz" else sorted(folder.glob("*.npz")) if folder.is_dir() else []
    if not files:
        return None
    calib = next((file for file in files if file.stem.startswith(("calib", "train"))), files[0])
    val = next((file for file in files if file.stem.startswith(_VALIDATION)), calib)
    named, label = _members(calib), next((name for name in _members(val) if name in _LABELS), "")
    arrays = [name for name in named if name not in _LABELS]
    pairs = list(zip(arrays, view.inputs, strict=False))
    said = "" if set(view.inputs) <= set(arrays) else "array " + ", ".join(f'"{a}" "{b}"' for a, b in pairs)
    labelled = f'label "{label}"' if label else ""
    both = "; ".join(part for part in (said, labelled) if part)
    calibrates = "; ".join(part for part in (said, _take(_MANY)) if part)
    return Found("npz", calib, calibrates, both, "classification" if label else "", calib != val, val)


def _plain(folder: Path, view: GraphView) -> Found | None:
    if not pictures(view):
        return None
    if folder.is_file() and folder.suffix.lower() in SUFFIXES:
        return Found("images", folder, "", "", "", False)
    if not folder.is_dir():
        return None
    if _has_pictures(folder):
        return Found("images", folder, _take(_MANY), "", "", False)
    inside = next((path for path in sorted(folder.glob("*")) if path.is_dir() and _has_pictures(path)), None)
    return Found("images", inside, _take(_MANY), "", "", False) if inside is not None else None


def _members(file: Path) -> tuple[str, ...]:
    import zipfile

    try:
        with zipfile.ZipFile(file) as archive:
            return tuple(name[:-4] for name in archive.namelist() if name.endswith(".npy"))
    except (OSError, zipfile.BadZipFile):
        return ()


def _train_and_val(splits: list[str]) -> tuple[str, str]:
    train = "train" if "train" in splits else splits[0]
    return train, next((split for split in _VALIDATION if split in splits), train)


def _classes(folder: Path) -> list[str]:
    return [path.name for path in _subfolders(folder) if _has_pictures(path)]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in _entries(folder) if path.is_dir() and not path.name.startswith("."))


def _has_pictures(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in _entries(folder))


def _entries(folder: Path) -> Iterator[Any]:
    """What lies in a folder, of endless ones the first part."""
    if not folder.is_dir():
        return
    for number, path in enumerate(folder.iterdir()):
        if number >= _MOST_LOOKED_AT:
            return
        yield path
