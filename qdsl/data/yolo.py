"""The YOLO layout: a yaml that names image folders per split, and a text file of boxes beside each picture's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qdsl.data.files import path_key, pictures_in, read_text
from qdsl.data.folders import single_path, unknown_class
from qdsl.data.image import SUFFIXES
from qdsl.data.roots import Roots, inside, name_from, roots
from qdsl.data.types import Item, Label, Listing, failure
from qdsl.data.unmatched import stray_labels, unmatched
from qdsl.data.words import class_number, short
from qdsl.diag import Span, nearest
from qdsl.diag.model import Diagnostic, Severity
from qdsl.lang.recipe import DataSpec

if TYPE_CHECKING:
    from qdsl.data.yolo_yaml import Place, YoloYaml

MAX_YAML = 2**20
MAX_LIST = 256 * 2**20
MAX_LABELS = 16 * 2**20


@dataclass(frozen=True, slots=True)
class _Yolo:
    """A description, where its files may lie, and the root that its locations start from (absolute)."""

    spec: DataSpec
    name: str
    described: YoloYaml
    roots: Roots
    root: str


def yolo(spec: DataSpec) -> Listing:
    """Everything lies below the yaml's own folder or where `outside` allows; else `data-escape`.

    A location is a folder (searched in depth) or a text file that lists pictures. The boxes of `images/a/b.jpg` are in
    `labels/a/b.txt`; a picture without that file has no boxes. `classes` keeps the pictures that show one of them.
    """
    from qdsl.data.yolo_yaml import parse  # takes PyYAML in, which only such datasets need

    single_path(spec)
    file = Path(spec.paths[0])
    name = spec.written[0] if spec.written else file.name
    described = parse(read_text(file, name, spec.span, MAX_YAML), name)
    locations = described.splits[_split(spec, described, name)]
    allowed = roots(spec, file.parent)
    root, notes = _root(described, locations, allowed, name)
    found = _Yolo(spec, name, described, allowed, root)
    items: dict[str, Item] = {}
    skipped: list[str] = []
    for location in locations:
        for path, listed in _located(found, location, skipped):
            items.setdefault(path, replace(_item(found, path), listed=listed))
    ordered = tuple(sorted(items.values(), key=lambda item: path_key(item.id)))
    notes += _stray_labels(found, [path for path, item in items.items() if item.listed is None])
    return keep_classes(Listing(ordered, described.names, tuple(skipped), described.notes + notes), spec)


def _stray_labels(found: _Yolo, pictures: Sequence[str]) -> tuple[Diagnostic, ...]:
    """What is to be told of label files whose picture is not there, beside those of `pictures` that were found in
    folders. A list of pictures may leave out some on purpose."""
    used = {_label_path(path, found.root) for path in pictures}
    strays = stray_labels({os.path.dirname(path) for path in used}, used)
    shown = [name_from(path, found.root) for path in strays]
    cure = "add the pictures under the same names, or take these files out"
    return unmatched(found.spec, shown, ("label file without a picture", "label files without a picture"), cure)


def _root(
    described: YoloYaml, locations: tuple[Place, ...], allowed: Roots, name: str
) -> tuple[str, tuple[Diagnostic, ...]]:
    """The folder that locations start from: what `path` says, or the yaml's own folder where that is not there and the
    locations are, as after a dataset was moved."""
    root = allowed.found(allowed.home, described.root.text, f"{name}, line {described.root.span.line},")
    if os.path.exists(root) or not any(os.path.exists(os.path.join(allowed.home, place.text)) for place in locations):
        return root, ()
    headline = f"{name}: there is no folder `{short(described.root.text, 120)}`; the file's own folder is used"
    note = Diagnostic(
        "data-yaml-path", headline, described.root.span, "", ("leave `path` out",), severity=Severity.WARNING
    )
    return allowed.home, (note,)


def _place(found: _Yolo, location: Place) -> str:
    """Where a location lies. As trainers do, `../train/images` is looked for below the root, too, where it is not
    beside it."""
    listed_in = f"{found.name}, line {location.span.line},"
    path = found.roots.found(found.root, location.text, listed_in)
    if not os.path.exists(path) and location.text.startswith("../"):
        below = found.roots.found(found.root, location.text.removeprefix("../"), listed_in)
        path = below if os.path.exists(below) else path
    found.roots.require(path, location.text, listed_in)
    return path


def _located(found: _Yolo, location: Place, skipped: list[str]) -> Iterator[tuple[str, Span | None]]:
    """The absolute paths of the pictures of one location of a split, each with where a file lists it."""
    path, span = _place(found, location), found.spec.span
    if os.path.isdir(path) or not path.lower().endswith(".txt"):
        folder = Path(path)
        yield from (
            (str(file), None) for _, file in pictures_in(folder, f"{found.name}: {location.text}", span, skipped)
        )
        return
    shown = short(location.text, 120)
    for number, line in enumerate(read_text(Path(path), shown, span, MAX_LIST).splitlines(), start=1):
        text = line.strip()
        base = os.path.dirname(path) if text.startswith("./") else found.root
        if text and os.path.splitext(text)[1].lower() in SUFFIXES:
            yield found.roots.place(base, text, f"{shown}, line {number},"), Span(shown, number, 1, number, 1)
        elif text:
            skipped.append(f"{short(text, 120)}: no picture by its name")


def _item(found: _Yolo, path: str) -> Item:
    name = name_from(path, found.root)
    label = _label_path(path, found.root)
    if not inside(label, found.root):
        found.roots.require_inside(label, f"the boxes of {short(name, 120)} would be outside the dataset's folder, too")
    labels = partial(_read_labels, Path(label), name_from(label, found.root), found.described, found.spec.span)
    return Item(name, Path(path), labels)


def _label_path(path: str, root: str) -> str:
    """`labels` in the place of the last `images` of the path, below the root where one stands there; else beside it."""
    parts = _parts(os.path.splitext(path)[0] + ".txt")
    at = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=None)
    beside = "/".join(parts)
    if at is None:
        return beside
    there = "/".join((*parts[:at], "labels", *parts[at + 1 :]))
    outside_root = at < len(_parts(root))
    return beside if outside_root and not os.path.exists(os.path.dirname(there)) else there


def _parts(path: str) -> list[str]:
    """Of an absolute path, "" first; pathlib does the same, at ten times the price."""
    return ["", *(part for part in path.split("/") if part not in ("", "."))]


def keep_classes(listing: Listing, spec: DataSpec) -> Listing:
    """With `classes`: only the items that show one of them; the others are listed as skipped. Where the recipe says
    which of the model's classes they are, every item stays, with the labels of these classes."""
    if not spec.classes:
        return listing
    for name in spec.classes:
        if name not in listing.classes:
            raise unknown_class(name, listing.classes, spec)
    if spec.numbers:
        return _renumbered(listing, spec)
    wanted = {listing.classes.index(name) for name in spec.classes}
    shows = [any(label.index in wanted for label in item.labels()) for item in listing.items]
    items = tuple(item for item, keep in zip(listing.items, shows, strict=True) if keep)
    skipped = tuple(f"{i.id}: none of the classes" for i, keep in zip(listing.items, shows, strict=True) if not keep)
    return replace(listing, items=items, skipped=listing.skipped + skipped)


def _renumbered(listing: Listing, spec: DataSpec) -> Listing:
    places = {listing.classes.index(name): at for at, name in enumerate(spec.classes)}
    items = tuple(replace(item, labels=partial(_kept, item.labels, places)) for item in listing.items)
    others = [name for at, name in enumerate(listing.classes) if at not in places]
    notes = listing.notes
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        headline = f"dataset {spec.name}: boxes of {', '.join(f'`{name}`' for name in others[:3])}{more} do not count"
        notes += (Diagnostic("data-classes", headline, spec.at("classes"), severity=Severity.NOTE),)
    return replace(listing, items=items, classes=spec.classes, notes=notes)


def _kept(labels: Callable[[], tuple[Label, ...]], places: Mapping[int, int]) -> tuple[Label, ...]:
    """The labels of the classes that count, by their place among these."""
    return tuple(replace(label, index=places[label.index]) for label in labels() if label.index in places)


def _split(spec: DataSpec, described: YoloYaml, name: str) -> str:
    known = tuple(described.splits)
    if spec.split is None and len(known) == 1:
        return known[0]
    if spec.split in described.splits:
        return spec.split or ""
    shown = ", ".join(f"`{k}`" for k in known) or "none"
    if spec.split is None:
        headline, help = f"{name} has several splits", f"write `split {known[0] if known else 'train'}`"
    else:
        close = nearest(spec.split, known)
        headline, help = f"{name} has no split `{spec.split[:60]}`", f"write `split {[*close, *known, 'train'][0]}`"
    raise failure("data-split", headline, spec.at("split"), label=f"it has {shown}", help=(help,))


def _read_labels(file: Path, where: str, described: YoloYaml, span: Span) -> tuple[Label, ...]:
    """Lines of `class x y width height`, centre and size as fractions; a polygon (more numbers) gives its box.
    Keypoints behind a box are not read."""
    if not file.exists():
        return ()
    rows = [(n, line.split()) for n, line in enumerate(read_text(file, where, span, MAX_LABELS).splitlines(), start=1)]
    return tuple(_label(row, where, number, described) for number, row in rows if row)


def _label(row: list[str], file: str, line: int, described: YoloYaml) -> Label:
    problem, index, numbers = "expected a class number and four numbers or more", -1, list[float]()
    with suppress(ValueError):
        index, numbers = class_number(row[0]), [float(word) for word in row[1:]]
        if described.keypoints and len(numbers) == 4 + described.keypoints:
            numbers = numbers[:4]
        problem = _problem(index, numbers, len(described.names), described.keypoints)
    if problem:
        help = ("a line is `class x y width height`: a class number, then centre and size as fractions of the picture",)
        span = Span(file, line, 1, line, 1)
        raise failure("data-label", f"{file} has a bad label: {problem}", span, help=help)
    return Label(index, _corners(numbers))


def _corners(numbers: list[float]) -> tuple[float, float, float, float]:
    """Of a box by centre and size, or of the points of a polygon."""
    if len(numbers) == 4:
        x, y, width, height = numbers
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def _problem(index: int, numbers: list[float], classes: int, keypoints: int) -> str:
    """Why a label cannot be used; "" where it can. A box may reach over the picture's edge, as annotators draw it."""
    if classes and index >= classes:
        return f"class {index}, and there are {classes}"
    if keypoints and len(numbers) != 4:
        return f"{len(numbers)} numbers after the class, expected four, and {keypoints} of keypoints"
    if len(numbers) < 4 or (len(numbers) > 4 and len(numbers) % 2):
        return f"{len(numbers)} numbers after the class, expected four, or a pair for each point of a polygon"
    if not all(-1 <= number <= 2 for number in numbers):  # NaN is not, either
        return "a number that is no fraction of the picture"
    if len(numbers) == 4 and min(numbers[2:]) < 0:
        return "a box of negative size"
    left, top, right, bottom = _corners(numbers)
    return "a box outside of the picture" if left > 1 or top > 1 or right < 0 or bottom < 0 else ""
