"""The YOLO layout: a yaml that names image folders per split, and a text file of boxes beside each picture's folder."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path, PurePosixPath

from qdsl.data.files import below, path_key, pictures_in, read_text
from qdsl.data.folders import single_path, unknown_class
from qdsl.data.image import SUFFIXES
from qdsl.data.types import Item, Label, Listing, failure
from qdsl.data.yolo_yaml import YoloYaml, parse
from qdsl.diag import Span, nearest
from qdsl.lang.recipe import DataSpec

MAX_YAML = 4 * 2**20
MAX_LIST = 256 * 2**20
MAX_LABELS = 16 * 2**20


def yolo(spec: DataSpec) -> Listing:
    """Everything lies below the yaml's own folder: a `path` or file name that leaves it is refused (`data-escape`).

    A location is a folder (searched in depth) or a text file that lists pictures. The boxes of `images/a/b.jpg` are in
    `labels/a/b.txt`; a picture without that file has no boxes. `classes` keeps the pictures that show one of them.
    """
    single_path(spec)
    file = Path(spec.paths[0])
    name = spec.written[0] if spec.written else file.name
    described = parse(read_text(file, name, spec.span, MAX_YAML), name)
    root = below(file.parent, described.root, name, spec.span)
    items: dict[str, Item] = {}
    for location in described.splits[_split(spec, described, name)]:
        for relative in _located(root, location, name, spec.span):
            labels = partial(_read_labels, root, relative, described.names, spec.span)
            items.setdefault(relative, Item(relative, root / relative, labels))
    ordered = tuple(sorted(items.values(), key=lambda item: path_key(item.id)))
    return keep_classes(Listing(ordered, described.names), spec)


def keep_classes(listing: Listing, spec: DataSpec) -> Listing:
    """With `classes`: only the items that show one of them; the others are listed as skipped."""
    if not spec.classes:
        return listing
    for name in spec.classes:
        if name not in listing.classes:
            raise unknown_class(name, listing.classes, spec)
    wanted = {listing.classes.index(name) for name in spec.classes}
    shows = [any(label.index in wanted for label in item.labels()) for item in listing.items]
    items = tuple(item for item, keep in zip(listing.items, shows, strict=True) if keep)
    skipped = tuple(f"{i.id}: none of the classes" for i, keep in zip(listing.items, shows, strict=True) if not keep)
    return Listing(items, listing.classes, listing.skipped + skipped)


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


def _located(root: Path, location: str, name: str, span: Span) -> list[str]:
    """Paths below `root` of the pictures of one location of a split."""
    path = below(root, location, name, span)
    inside = path.relative_to(root).as_posix()
    if path.suffix.lower() != ".txt":
        prefix = "" if inside == "." else f"{inside}/"
        return [prefix + found for found, _ in pictures_in(path, f"{name}: {location}", span, recursive=True)]
    parent = PurePosixPath(inside).parent
    found = []
    for line in read_text(path, location, span, MAX_LIST).splitlines():
        text = line.strip()
        if text:
            listed = str(parent / text) if text.startswith("./") else text
            found.append(below(root, listed, location, span).relative_to(root).as_posix())
    return [entry for entry in found if os.path.splitext(entry)[1].lower() in SUFFIXES]  # noqa: PTH122 - strings


def _read_labels(root: Path, relative: str, names: tuple[str, ...], span: Span) -> tuple[Label, ...]:
    """Lines of `class x y width height`, centre and size as fractions; a polygon (more numbers) gives its box."""
    parts = PurePosixPath(relative).with_suffix(".txt").parts
    at = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=None)
    where = PurePosixPath(*parts) if at is None else PurePosixPath(*parts[:at], "labels", *parts[at + 1 :])
    file = root / where
    if not file.exists():
        return ()
    text = read_text(file, where.as_posix(), span, MAX_LABELS)
    rows = [(n, line.split()) for n, line in enumerate(text.splitlines(), start=1)]
    return tuple(_label(row, where.as_posix(), number, names) for number, row in rows if row)


def _label(row: list[str], file: str, line: int, names: tuple[str, ...]) -> Label:
    try:
        index, numbers = int(row[0]), [float(word) for word in row[1:]]
    except ValueError:
        index, numbers = -1, []
    bad = index < 0 or (names and index >= len(names)) or len(numbers) < 4 or (len(numbers) > 4 and len(numbers) % 2)
    if bad or not all(abs(n) < 1e6 for n in numbers):
        help = ("a line is `class x y width height`: a class number, then centre and size as fractions of the picture",)
        raise failure("data-label", f"{file} has a bad label", Span(file, line, 1, line, 1), help=help)
    if len(numbers) == 4:
        x, y, width, height = numbers
        return Label(index, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return Label(index, (min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])))
