"""From a recipe's `data` statement and `input` blocks to a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdsl.data.ahead import check_pictures, check_rows
from qdsl.data.coco import coco
from qdsl.data.duplicates import duplicates
from qdsl.data.files import chosen, item_names
from qdsl.data.folders import folder, images, masks
from qdsl.data.image import is_flat, picture_size, with_pixels
from qdsl.data.npz import ArrayReader, npz_rows
from qdsl.data.preprocess import Pipeline, build
from qdsl.data.sampling import Sampled, sampled, wanted
from qdsl.data.table import table
from qdsl.data.types import Array, Change, Dataset, Dim, Item, Label, Listing, ModelInput, failure
from qdsl.data.video import video
from qdsl.data.yolo import yolo
from qdsl.diag import Diagnostics, QdslError, Span, nearest
from qdsl.lang.recipe import DataSpec, InputSpec

_PICTURES: dict[str, Callable[[DataSpec], Listing]] = {
    "images": images,
    "folder": folder,
    "yolo": yolo,
    "coco": coco,
    "masks": masks,
    "csv": table,
    "video": video,
}
SOURCES = (*_PICTURES, "npz")
NOTHING_THERE = "nothing matches"

# Which settings of a `data` block speak to which source; the rest would be silently ignored, so they are refused.
_SETTINGS: dict[str, tuple[str, ...]] = {
    "split": ("folder", "yolo", "coco", "masks", "csv"),
    "classes": ("folder", "yolo", "coco", "masks", "csv", "npz"),
    "ignore": ("masks",),
    "columns": ("csv",),
    "every": ("video",),
    "outside": ("yolo", "coco", "csv"),
    "arrays": ("npz",),
    "label": ("npz",),
    "oversample": ("folder", "yolo", "coco", "csv"),
    "ratio": ("folder", "yolo", "coco", "csv"),
    "balance": ("folder", "yolo", "coco", "csv"),
}
_DIMENSIONS = 4  # of a picture, the batch among them
_SPELLED = {"arrays": "array", "balance": "balance classes"}


@dataclass(frozen=True, slots=True)
class PictureReader:
    """Decodes one file and runs the steps of each model input on it."""

    items: tuple[Item, ...]
    pipelines: Mapping[str, Pipeline]
    span: Span
    flat: set[int] = field(default_factory=set)
    change: Change | None = None

    def arrays(self, index: int) -> Mapping[str, Array]:
        item = self.items[index]

        def made(pixels: NDArray[np.uint8]) -> Mapping[str, Array]:
            if is_flat(pixels):
                self.flat.add(index)
            changed = pixels if self.change is None else self.change(pixels, item.id)
            return {name: pipeline.picture(changed) for name, pipeline in self.pipelines.items()}

        return with_pixels(item, self.span, made)

    def labels(self, index: int) -> tuple[Label, ...]:
        return self.items[index].labels()

    def mask(self, index: int) -> Path | None:
        return self.items[index].mask

    def size(self, index: int) -> tuple[int, int] | None:
        item = self.items[index]
        if item.frame is None:
            return picture_size(item.path, item.id, self.span)
        height, width, _ = item.frame.pixels().shape
        return height, width

    def file(self, index: int) -> tuple[str, Path]:
        return self.items[index].file, self.items[index].path


def open_dataset(
    spec: DataSpec,
    inputs: Sequence[InputSpec],
    model_inputs: Mapping[str, ModelInput | tuple[str, tuple[Dim, ...] | None]],
    diags: Diagnostics | None = None,
    *,
    read: bool = True,
) -> Dataset:
    """The dataset of one `data` statement, ready for a model with `model_inputs` (name -> element type and dims). With
    `read` False no file of a sample is opened.

    Finds and chooses the samples and checks what can be known before one is read. Warnings go to `diags`; errors are
    raised together as QdslError: data-*, image-*, input-*, npz-*, sampling-* (see `qdsl.diag.codes.data`).
    """
    diags = Diagnostics() if diags is None else diags
    found = Diagnostics()
    pipelines = _pipelines(spec, inputs, model_inputs, found)
    _check_settings(spec, found)
    dataset: Dataset | None = None
    try:
        dataset = _npz(spec, pipelines) if spec.source == "npz" else _pictures(spec, pipelines, diags, read)
    except QdslError as error:
        found.extend(error.diagnostics)
    found.raise_errors()
    if dataset is None:
        raise RuntimeError("a dataset that could not be opened reported no error")
    _warn(spec, dataset, diags)
    return dataset


def _pipelines(
    spec: DataSpec,
    inputs: Sequence[InputSpec],
    model_inputs: Mapping[str, ModelInput | tuple[str, tuple[Dim, ...] | None]],
    found: Diagnostics,
) -> dict[str, Pipeline]:
    by_name = {}
    for block in inputs:
        name = block.name if block.name is not None or len(model_inputs) != 1 else next(iter(model_inputs))
        if name is None or name not in model_inputs:
            known = tuple(model_inputs)
            close = nearest(name or "", known) or known[:4]
            headline = f"the model has no input `{name}`" if name else "this `input` block names no input of the model"
            help = [f"the model's inputs are {', '.join(f'`{c}`' for c in close)}"]
            found.error("input-unknown", headline, block.span, help=help)
        else:
            by_name[name] = block
    pipelines: dict[str, Pipeline] = {}
    for name, takes in model_inputs.items():
        if name not in by_name and len(model_inputs) > 1 and spec.source != "npz":
            help = [_filling(name, ModelInput(*takes))]
            found.error("input-missing", f"nothing says what goes into input {name}", spec.span, help=help)
            continue
        try:
            pipelines[name] = build(name, by_name.get(name), ModelInput(*takes), spec.span)
            if spec.source != "npz":
                check_pictures(pipelines[name])
        except QdslError as error:
            found.extend(error.diagnostics)
    return pipelines


def _filling(name: str, takes: ModelInput) -> str:
    arrays = "use an npz with one array per input"
    if takes.shape is not None and len(takes.shape) != _DIMENSIONS:
        return f"no picture has the {len(takes.shape)} dimensions of {name}: {arrays}"
    return f'write `input "{name}" {{ ... }}`, or {arrays}'


def _check_settings(spec: DataSpec, found: Diagnostics) -> None:
    for setting, sources in _SETTINGS.items():
        if getattr(spec, setting) in (None, (), False) or spec.source in sources:
            continue
        word = _SPELLED.get(setting, setting)
        headline = f"`{word}` says nothing to the source `{spec.source}`"
        found.error("data-setting", headline, spec.at(word.split()[0]), help=[f"it belongs to {', '.join(sources)}"])
    if spec.source == "npz" and spec.classes and spec.label is None:
        help = ['`label "array in file"` says which array holds class numbers, whose names these are']
        found.error("data-setting", "`classes` names labels, and this npz has none", spec.at("classes"), help=help)


def _pictures(spec: DataSpec, pipelines: Mapping[str, Pipeline], diags: Diagnostics, read: bool) -> Dataset:
    _check_take(spec)
    listing = _PICTURES[spec.source](spec)
    diags.extend(listing.notes)
    _check_count(spec, len(listing.items), listing.skipped)
    if wanted(spec) and spec.source in _SETTINGS["ratio"]:
        drawn = sampled(spec, listing, diags)
    else:
        items = chosen(listing.items, item_names(listing.items), spec.take)
        drawn = Sampled(items, len(listing.items), listing.skipped)
    if read:
        _warn_duplicates(spec, drawn.items, diags)
    _warn_classes(spec, listing, drawn, diags)
    ids = tuple(item.id for item in drawn.items)
    reader = PictureReader(drawn.items, pipelines, spec.span)
    skipped, classes = drawn.skipped, listing.classes
    return Dataset(spec.name, spec.source, ids, drawn.available, classes, skipped, reader, spec.numbers, spec.span)


def _warn_duplicates(spec: DataSpec, items: Sequence[Item], diags: Diagnostics) -> None:
    same = duplicates(items)
    if same:
        verb = "has" if len(same) == 1 else "have"
        headline = f"{len(same)} of the files of dataset {spec.name} {verb} the content of another"
        more = ", ..." if len(same) > 3 else ""
        help = ["take them out; `oversample` and `ratio` repeat samples on purpose"]
        diags.warning("data-duplicates", headline, spec.span, label=", ".join(same[:3]) + more, help=help)


def _warn_classes(spec: DataSpec, listing: Listing, drawn: Sampled, diags: Diagnostics) -> None:
    """A dataset in order of its classes, of which the first N show only some: what is calibrated saw nothing of the
    others. Only where labels are known without reading files of their own."""
    if spec.take is None or spec.take[1] is not None or spec.source not in ("folder", "csv"):
        return
    if spec.ratio or spec.balance:
        return
    every, shown = (_classes_of(items) for items in (listing.items, drawn.items))
    if len(shown) < min(len(every), spec.take[0]):
        headline = f"`take {spec.take[0]}` shows {len(shown)} of the {len(every)} classes of dataset {spec.name}"
        help = (f"`take {spec.take[0]} seed 1` draws from all of them, `balance classes` the same number of each",)
        label = "without a seed, the first in path order"
        diags.warning("take-classes", headline, spec.at("take"), label=label, help=help)


def _classes_of(items: Sequence[Item]) -> frozenset[int]:
    return frozenset(label.index for item in items for label in item.labels())


def _npz(spec: DataSpec, pipelines: Mapping[str, Pipeline]) -> Dataset:
    _check_take(spec)
    rows = npz_rows(spec, pipelines)
    _check_count(spec, rows.available)
    found = Diagnostics()
    for shape, dtype, name in rows.kinds():
        try:
            check_rows(pipelines[name], dtype, shape)
        except QdslError as error:
            found.extend(error.diagnostics)
    found.raise_errors()
    ids = tuple(rows.name(index) for index in range(len(rows.places)))
    reader = ArrayReader(rows, pipelines, spec.span)
    return Dataset(spec.name, spec.source, ids, rows.available, spec.classes, (), reader, spec.numbers, spec.span)


def _check_take(spec: DataSpec) -> None:
    if spec.take is not None and spec.take[0] < 1:
        raise failure("data-empty", f"dataset {spec.name} takes {spec.take[0]} samples", spec.at("take"))


def _check_count(spec: DataSpec, count: int, skipped: Sequence[str] = ()) -> None:
    if count:
        return
    where = ", ".join(spec.written) or "there"
    why = f"{len(skipped)} were passed over, the first: {skipped[0]}" if skipped else NOTHING_THERE
    raise failure("data-empty", f"dataset {spec.name} has no samples in {where}", spec.at("from"), label=why)


def _warn(spec: DataSpec, dataset: Dataset, diags: Diagnostics) -> None:
    if spec.take is not None and spec.take[0] > dataset.available:
        headline = f"dataset {spec.name} has only {dataset.available} of the {spec.take[0]} samples asked for"
        diags.warning("take-short", headline, spec.at("take"), help=["all of them are used"])
    if dataset.skipped:
        count = len(dataset.skipped)
        headline = f"dataset {spec.name} passes over {'1 file' if count == 1 else f'{count} files'}"
        diags.warning("data-skipped", headline, spec.span, label=f"the first: {dataset.skipped[0]}")
