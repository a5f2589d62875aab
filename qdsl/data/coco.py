"""The COCO layout: one json of images, annotations and categories, with the picture folder beside it or given."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from qdsl.data.files import path_key
from qdsl.data.folders import safe_split, single_path
from qdsl.data.image import open_file, picture_size, reason
from qdsl.data.roots import name_from, roots
from qdsl.data.types import Item, Label, Listing, failure
from qdsl.data.unmatched import unmatched
from qdsl.data.words import class_problem, short
from qdsl.data.yolo import keep_classes
from qdsl.diag import Diagnostic, Span
from qdsl.lang.recipe import DataSpec

MAX_JSON = 2**30
MAX_SIDE = 10**6  # pixels of a picture, and of where a box may begin or end
_Entry = tuple[int, dict[str, Any]]  # an annotation, and its place in the file


def coco(spec: DataSpec) -> Listing:
    """`coco "instances.json"`, `coco ["instances.json", "pictures/"]`, or `coco "root/"` with `split W`, which looks
    for `annotations/instances_W.json` and `W.json`. File names must stay below the picture folder (`data-escape`).

    Class numbers count the categories by id. `classes` keeps the pictures that show one of them.
    """
    single_path(spec, most=2)
    file, name = _json_file(spec)
    images, annotations, categories = _tables(_read(file, name, spec.span), name, spec.span)
    order = sorted(categories)
    numbers = {category: index for index, category in enumerate(order)}
    boxes, notes = _by_image(spec, name, images, annotations)
    _require_categories(spec, name, [entry for entries in boxes.values() for entry in entries], numbers)
    names = {image["file_name"] for image in images}
    folder = Path(spec.paths[1]) if len(spec.paths) == 2 else _folder(file, sorted(names), spec, name)
    allowed = roots(spec, folder)
    items: dict[str, Item] = {}
    for image in images:
        path = allowed.place(allowed.home, image["file_name"], name)
        relative = name_from(path, allowed.home)
        labels = partial(_labels, image, Path(path), tuple(boxes[image["id"]]), numbers, name, spec.span)
        items.setdefault(relative, Item(relative, Path(path), labels))
    ordered = tuple(sorted(items.values(), key=lambda item: path_key(item.id)))
    return keep_classes(Listing(ordered, tuple(categories[i] for i in order), notes=notes), spec)


def _by_image(
    spec: DataSpec, name: str, images: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> tuple[dict[int, list[_Entry]], tuple[Diagnostic, ...]]:
    """The annotations of each image by its id, and what is to be told of those of images that are not listed."""
    boxes: dict[int, list[_Entry]] = {image["id"]: [] for image in images}
    others: list[str] = []
    for at, annotation in enumerate(annotations):
        image = annotation["image_id"]
        if image in boxes:
            boxes[image].append((at, annotation))
        else:
            others.append(f"entry {at} of `annotations` in {name}, of image {image}")
    cure = "`images` lists the pictures that are used: add theirs, or take these annotations out"
    what = "annotation of an image that is not listed", "annotations of images that are not listed"
    return boxes, unmatched(spec, others, what, cure)


def _require_categories(spec: DataSpec, name: str, entries: list[_Entry], numbers: dict[int, int]) -> None:
    """Raise data-label for annotations of a category that is not listed."""
    wrong = [(at, row["category_id"]) for at, row in entries if row["category_id"] not in numbers]
    if wrong:
        (at, category), count = min(wrong), len(wrong)
        more = f", and {count - 1} more are of such ones" if count > 1 else ""
        headline = f"{name}: entry {at} of `annotations` is of category {category}, which is not listed{more}"
        known = ", ".join(map(str, sorted(numbers)[:8])) or "none"
        raise failure("data-label", headline, spec.span, help=(f"`categories` lists the ids {known}",))


def _json_file(spec: DataSpec) -> tuple[Path, str]:
    path, shown = Path(spec.paths[0]), spec.written[0] if spec.written else Path(spec.paths[0]).name
    if not path.is_dir():
        if spec.split is not None:
            help = ("leave out `split`, or name the folder above `annotations` instead of a file",)
            raise failure("data-split", f"{shown} is one file and has no splits", spec.at("split"), help=help)
        return path, shown
    if spec.split is None:
        help = ("write `split` and the name of one, or name the json file itself",)
        raise failure("data-split", f"{shown} is a folder", spec.span, help=help)
    split = safe_split(spec)
    tried = [f"annotations/instances_{split}.json", f"annotations/{split}.json", f"{split}.json"]
    for part in tried:
        if (path / part).is_file():
            return path / part, f"{shown}/{part}"
    help = (f"looked for {', '.join(tried)}",)
    raise failure("data-missing", f"{shown} has no annotations for split `{split}`", spec.at("split"), help=help)


def _read(file: Path, name: str, span: Span) -> Any:
    with open_file(file, name, span, MAX_JSON) as handle:
        try:
            return json.load(handle)
        except (ValueError, RecursionError, OSError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else reason(error)
            raise failure("data-coco", f"{name} is not JSON: {what}", span) from None


def _tables(found: Any, name: str, span: Span) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[int, str]]:
    """(images, annotations, category names by id), each row checked for the fields read later."""
    if not isinstance(found, dict):
        raise failure("data-coco", f"{name} is not a COCO description: it holds no object", span)
    images = _rows(found, "images", {"id": int, "file_name": str}, name, span)
    annotations = _rows(found, "annotations", {"image_id": int, "category_id": int}, name, span)
    categories = _rows(found, "categories", {"id": int, "name": str}, name, span)
    for at, row in enumerate(categories):
        problem = class_problem(row["name"])
        if problem:
            headline = (
                f"{name}: entry {at} of `categories` is called `{short(row['name'])}`, which cannot be used: {problem}"
            )
            raise failure("data-name", headline, span)
    for key, field, rows in (
        ("images", "id", images),
        ("images", "file_name", images),
        ("categories", "id", categories),
    ):
        _require_once(rows, key, field, name, span)
    return images, annotations, {row["id"]: row["name"] for row in categories}


def _rows(found: dict[str, Any], key: str, fields: dict[str, type], name: str, span: Span) -> list[dict[str, Any]]:
    rows = found.get(key, None if key == "images" else [])
    if not isinstance(rows, list):
        raise failure("data-coco", f"{name} is not a COCO description: `{key}` is no list", span)
    for at, row in enumerate(rows):
        wrong = [f for f, kind in fields.items() if not isinstance(row, dict) or type(row.get(f)) is not kind]
        if wrong:
            raise failure("data-coco", f"{name}: entry {at} of `{key}` has no usable `{wrong[0]}`", span)
    return rows


def _require_once(rows: list[dict[str, Any]], key: str, field: str, name: str, span: Span) -> None:
    """Raise data-coco where two entries share what tells them apart."""
    seen: dict[Any, int] = {}
    for at, row in enumerate(rows):
        first = seen.setdefault(row[field], at)
        if first != at:
            raise failure("data-coco", f"{name}: entries {first} and {at} of `{key}` have the same `{field}`", span)


def _folder(file: Path, names: list[str], spec: DataSpec, shown: str) -> Path:
    """The first of the usual places that holds the first picture listed; the json's own folder when none does."""
    split = file.stem.removeprefix("instances_")
    parent = file.parent
    places = [parent, parent / "images", parent / split, parent.parent / split, parent.parent / "images" / split]
    places += [parent.parent / "images"]
    first = names[0] if names else ""
    return next((p for p in places if first and Path(roots(spec, p).found(str(p), first, shown)).is_file()), parent)


def _labels(
    image: dict[str, Any], path: Path, entries: tuple[_Entry, ...], numbers: dict[int, int], name: str, span: Span
) -> tuple[Label, ...]:
    width: Any = image.get("width")
    height: Any = image.get("height")
    if entries and width is None and height is None:
        height, width = picture_size(path, image["file_name"], span)
    if entries and not (_is_side(width) and _is_side(height)):
        headline = f"{name}: the width and height of {short(image['file_name'], 120)} cannot be used"
        help = (f"boxes need the size of their picture: numbers from 1 to {MAX_SIDE}",)
        raise failure("data-label", headline, span, help=help)
    labels: list[Label] = []
    for at, row in entries:
        problem = _problem(row, width, height)
        if problem:
            where = f"entry {at} of `annotations`, of {short(image['file_name'], 120)},"
            raise failure("data-label", f"{name}: {where} {problem}", span, help=("a `bbox` is [x, y, width, height]",))
        x, y, w, h = row["bbox"]
        placed = (x / width, y / height, (x + w) / width, (y + h) / height)
        labels.append(Label(numbers[row["category_id"]], placed, bool(row.get("iscrowd"))))
    return tuple(labels)


def _problem(row: dict[str, Any], width: float, height: float) -> str:
    """Why an annotation cannot be used; "" where it can."""
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return "has no box of four numbers"
    if not all(-MAX_SIDE <= value <= MAX_SIDE for value in box):  # NaN is not, either
        return f"has a box whose numbers are not between -{MAX_SIDE} and {MAX_SIDE}"
    if min(box[2:]) < 0:
        return "has a box of negative size"
    outside = box[0] > width or box[1] > height or box[0] + box[2] < 0 or box[1] + box[3] < 0
    return "has a box outside of its picture" if outside else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_side(value: Any) -> bool:
    return _is_number(value) and 1 <= value <= MAX_SIDE
