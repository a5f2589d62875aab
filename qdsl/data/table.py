"""The source `csv`: a table with a picture file in each row and, where there is a column for it, its class."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qdsl.data.files import path_key, read_text, written
from qdsl.data.folders import single_path, unknown_class
from qdsl.data.image import SUFFIXES
from qdsl.data.roots import name_from, roots
from qdsl.data.types import Item, Label, Listing, failure, no_labels
from qdsl.data.words import MAX_CLASSES, class_problem, short
from qdsl.diag import QdslError, Span, nearest
from qdsl.lang.recipe import DataSpec

MAX_TABLE = 256 * 2**20
FILES = (
    *("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_name"),
    *("image_file", "img", "img_path", "img_name", "images", "image_id", "id"),
)
LABELS = ("label", "class", "class_name", "category", "target", "labels", "class_id", "label_id", "category_id")
SPLITS = ("split", "set", "subset")
_PARTS = ",;\t|"  # what may part cells


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns hold what; None for one that is not there."""

    file: int
    label: int | None
    split: int | None


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    file: str
    label: str


def table(spec: DataSpec) -> Listing:
    """`csv "labels.csv"`, or `csv ["labels.csv", "pictures/"]` where files are named from another folder.

    Labels are names, or the numbers of classes where all of them are whole numbers. `classes` gives their order, and
    leaves out the rows of others. `split W` keeps the rows that say so in a column of splits.
    """
    single_path(spec, most=2)
    file, name = Path(spec.paths[0]), written(spec, 0)
    rows = _rows(spec, read_text(file, name, spec.span, MAX_TABLE), name)
    home = roots(spec, Path(spec.paths[1]) if len(spec.paths) == 2 else file.parent)
    classes, number = _classes(spec, rows, name)
    items: dict[str, Item] = {}
    skipped: list[str] = []
    for row in rows:
        path = _with_suffix(home.place(home.home, row.file, f"{name}, line {row.line},"))
        shown = name_from(path, home.home)
        if shown in items:
            raise _error(name, row.line, f"`{short(row.file)}` stands in more than one row")
        if row.label and row.label not in number:
            skipped.append(f"{shown}: none of the classes")
            continue
        label = partial(_label, number[row.label]) if row.label else no_labels
        items[shown] = Item(shown, Path(path), label, listed=Span(name, row.line, 1, row.line, 1))
    return Listing(tuple(sorted(items.values(), key=lambda item: path_key(item.id))), classes, tuple(skipped))


def _with_suffix(path: str) -> str:
    """The picture that a row means: names are often numbers of pictures, without a suffix."""
    if Path(path).suffix.lower() in SUFFIXES or Path(path).exists():
        return path
    return next((path + suffix for suffix in sorted(SUFFIXES) if Path(path + suffix).exists()), path)


def _label(index: int) -> tuple[Label, ...]:
    return (Label(index),)


def _rows(spec: DataSpec, text: str, name: str) -> list[_Row]:
    """The rows of the split asked for, with their lines."""
    lines = _cells(text, name)
    header = next(lines, (1, list[str]()))[1]
    columns = _columns(spec, [cell.strip() for cell in header], name)
    found: list[_Row] = []
    seen: dict[str, None] = {}
    for line, cells in lines:
        if len(cells) != len(header):
            raise _error(name, line, f"{len(cells)} cells, and the header has {len(header)}")
        here = cells[columns.split].strip() if columns.split is not None else ""
        seen.setdefault(here)
        if spec.split in (None, here):
            label = cells[columns.label].strip() if columns.label is not None else ""
            if columns.label is not None and not label:
                raise _error(name, line, "this row has no label")
            found.append(_Row(line, cells[columns.file].strip(), label))
    if spec.split is not None and not found and seen:
        close = nearest(spec.split, seen) or tuple(seen)[:4]
        help = (f"it has {', '.join(f'`{short(each)}`' for each in close)}",)
        raise failure("data-split", f"{name} has no split `{short(spec.split)}`", spec.at("split"), help=help)
    return found


def _cells(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold something, with their numbers; cells are parted by what parts the header: , ; | or a tab."""
    first = text[: max(0, text.find("\n"))] or text[:1000]
    delimiter = max(_PARTS, key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _error(name, line, short(str(error), 160)) from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _columns(spec: DataSpec, header: Sequence[str], name: str) -> _Columns:
    """The columns that the recipe names, else those with a usual name; beside a column of files, an only other one has
    the labels."""
    lower = ["_".join(cell.lower().replace("-", " ").split()) for cell in header]
    if spec.columns:
        places = [_named(spec, column, header, name) for column in spec.columns]
        file, label = places[0], places[1] if len(places) > 1 else None
    else:
        file = next((lower.index(each) for each in FILES if each in lower), -1)
        others = [at for at, cell in enumerate(lower) if cell and at != file and cell not in SPLITS]
        label = next((lower.index(each) for each in LABELS if each in lower), others[0] if len(others) == 1 else None)
    if file < 0 or (label is None and not spec.columns and len(header) > 1):
        missing = "files" if file < 0 else "labels"
        headline = f"nothing says which column of {name} holds the {missing}"
        shown = ", ".join(f"`{short(cell, 30)}`" for cell in header[:8])
        first = f"the first line, which names the columns, has {shown or 'nothing'}"
        if any(Path(cell).suffix.lower() in SUFFIXES for cell in header):
            first = "the first line is a row already: put one before it that names the columns, `file,label`"
        cure = 'write `columns "FILES", "LABELS"` with their names, or `columns "FILES"` where there are no labels'
        raise failure("data-csv", headline, spec.at("columns", "from"), help=(cure, first))
    split = next((lower.index(each) for each in SPLITS if each in lower), None)
    if spec.split is not None and split is None:
        help = (f"the rows of a split say so in a column called {' or '.join(f'`{each}`' for each in SPLITS)}",)
        raise failure("data-split", f"{name} has no column of splits", spec.at("split"), help=help)
    return _Columns(file, label, split)


def _named(spec: DataSpec, column: str, header: Sequence[str], name: str) -> int:
    if column in header:
        return header.index(column)
    close = nearest(column, header) or tuple(header[:6])
    help = (f"it has {', '.join(f'`{short(each, 30)}`' for each in close) or 'none'}",)
    raise failure("data-csv", f"{name} has no column `{short(column)}`", spec.at("columns"), help=help)


def _classes(spec: DataSpec, rows: Sequence[_Row], name: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """(class names, the number of each label): names in order of the alphabet or as `classes` has them; numbers as they
    stand, the names then being unknown or those of `classes`."""
    found = {row.label: row.line for row in rows if row.label}
    if found and all(label.isascii() and label.isdigit() for label in found):
        for label, line in found.items():
            if len(label) > len(str(MAX_CLASSES)) or int(label) >= (len(spec.classes) or MAX_CLASSES):
                least = len(spec.classes) or MAX_CLASSES
                raise _error(name, line, f"the label {short(label)} is no class: they are numbered 0 to {least - 1}")
        return spec.classes, {label: int(label) for label in found}
    for label, line in found.items():
        problem = class_problem(label)
        if problem:
            raise _error(name, line, f"the label `{short(label)}` cannot be a class: {problem}")
    for asked in spec.classes:
        if asked not in found:
            raise unknown_class(asked, sorted(found), spec)
    classes = spec.classes or tuple(sorted(found))
    return classes, {label: index for index, label in enumerate(classes)}


def _error(name: str, line: int, what: str) -> QdslError:
    return failure("data-csv", f"{name}: {what}", Span(name, line, 1, line, 1))
