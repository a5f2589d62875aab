"""What a dataset is: model inputs, samples, labels, and the dataset itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from qdsl.diag import Diagnostic, Placed, QdslError, Span
from qdsl.spec.threads import in_order

Array = NDArray[Any]
Dim = int | str | None
Change = Callable[[NDArray[Any], str], NDArray[Any]]  # pixels [height, width, channels] and the sample's name -> pixels


class ModelInput(NamedTuple):
    """What one input of the model takes: an ONNX element type in lower case, and dims (a number, a symbol or None)."""

    dtype: str
    shape: tuple[Dim, ...] | None


@dataclass(frozen=True, slots=True)
class Label:
    """One labelled thing in a sample. `index` counts in `Dataset.classes`; `box` is (x0, y0, x1, y1) as fractions of
    the picture's width and height, None where the label speaks of the whole picture. `crowd` is COCO's `iscrowd`."""

    index: int
    box: tuple[float, float, float, float] | None = None
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample, ready for the model: each array has a leading batch of 1, the model input's type and shape. `flat`:
    its picture is of one colour, or nearly, or its values are all one."""

    index: int
    id: str
    arrays: Mapping[str, Array]
    flat: bool = False


def no_labels() -> tuple[Label, ...]:
    return ()


class Frame(NamedTuple):
    """A picture that is a part of its file: what the file is called, its place there, and how its pixels are read."""

    file: str
    number: int
    pixels: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Item:
    """One picture: `id` is the path of its file below the dataset's root with `/` between parts, the same on every
    machine; a frame has its number behind. `listed` is where a file of the dataset names it, None where it was found
    by looking into folders."""

    id: str
    path: Path
    labels: Callable[[], tuple[Label, ...]] = no_labels
    mask: Path | None = None
    frame: Frame | None = None
    listed: Span | None = None

    @property
    def file(self) -> str:
        return self.id if self.frame is None else self.frame.file


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source holds before `take`: items in path order, class names by index, what was passed over and why, and
    what there is to tell of the source itself."""

    items: tuple[Item, ...]
    classes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[Diagnostic, ...] = ()


class Reader(Protocol):
    """Turns the number of a sample into arrays; called from several threads at once. `flat` are the numbers of those
    read so far that show nothing: a picture of one colour, or nearly; values that are all one, or one per channel."""

    @property
    def flat(self) -> set[int]: ...

    def arrays(self, index: int) -> Mapping[str, Array]: ...

    def labels(self, index: int) -> tuple[Label, ...]: ...

    def mask(self, index: int) -> Path | None: ...

    def size(self, index: int) -> tuple[int, int] | None: ...

    def file(self, index: int) -> tuple[str, Path]: ...


@dataclass(frozen=True)
class Dataset(Placed):
    """Samples in a fixed order, read one at a time. `available` counts what the source held before `take`. `numbers`
    are those that the model gives `classes`, none where it knows the same ones in the same order. `span` is the place
    of the `data` statement, None where there is none."""

    name: str
    source: str
    ids: tuple[str, ...]
    available: int
    classes: tuple[str, ...]
    skipped: tuple[str, ...]
    reader: Reader = field(repr=False)
    numbers: tuple[int, ...] = ()
    span: Span | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(i) for i in range(len(self)))

    def sample(self, index: int) -> Sample:
        """Sample `index`, decoded and preprocessed; QdslError where its file cannot be used. Safe from any thread."""
        arrays = self.reader.arrays(index)
        return Sample(index, self.ids[index], arrays, index in self.reader.flat)

    def labels(self, index: int) -> tuple[Label, ...]:
        """The labels of sample `index`, read on demand; none where the source has none."""
        return self.reader.labels(index)

    def mask(self, index: int) -> Path | None:
        """The file with the class of each pixel of sample `index` (source `masks` only)."""
        return self.reader.mask(index)

    def size(self, index: int) -> tuple[int, int] | None:
        """(height, width) of the picture of sample `index`, before any preprocessing; None for other arrays."""
        return self.reader.size(index)

    def file(self, index: int) -> tuple[str, Path]:
        """The file that holds the values of sample `index`, with its name in the dataset: the same on every machine."""
        return self.reader.file(index)

    def prefetch(self, workers: int) -> Iterator[Sample]:
        """The samples in order, decoded ahead by `workers` threads; at most 2 * workers samples wait in memory."""
        if workers < 1:
            yield from self
            return
        yield from in_order(self.sample, range(len(self)), workers, name="qdsl-decode")


@dataclass(frozen=True, slots=True)
class Summary:
    """A dataset in figures: samples used, samples there before `take`, class names, what was passed over and why."""

    name: str
    source: str
    count: int
    available: int
    classes: tuple[str, ...]
    skipped: tuple[str, ...]


def describe(dataset: Dataset) -> Summary:
    """The figures of `dataset`; reads no sample."""
    return Summary(dataset.name, dataset.source, len(dataset), dataset.available, dataset.classes, dataset.skipped)


def failure(code: str, headline: str, span: Span | None, *, label: str = "", help: tuple[str, ...] = ()) -> QdslError:
    """One diagnostic as an exception, for `raise failure(...)`."""
    return QdslError([Diagnostic(code, headline, span, label, help)])
