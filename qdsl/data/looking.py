"""What the headers of a dataset's pictures say, before one is decoded: whether the files are there and are pictures,
and whether their sizes fit the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from qdsl.data.ahead import check_pictures
from qdsl.data.opening import PictureReader
from qdsl.data.types import Dataset, Item, failure
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.lang.recipe import DataSpec

GLANCE = 256  # pictures that are looked at where a dataset is not to be read as a whole
_MOST = 20  # files that are told at once


@dataclass(slots=True)
class _Seen:
    """What was found: pictures looked at, and whether these are all, those that are not there, broken ones, and by size
    what does not fit."""

    whole: bool
    count: int = 0
    missing: list[Item] = field(default_factory=list)
    broken: list[Diagnostic] = field(default_factory=list)
    misfits: dict[tuple[int, int], tuple[Diagnostic, list[Item]]] = field(default_factory=dict)


def look(dataset: Dataset, spec: DataSpec, most: int | None = None) -> None:
    """Read the headers of the pictures (of `most` of them, spread evenly; None: of all; of a video the first frame) and
    raise QdslError with what is wrong: data-missing, data-unreadable, data-size, image-*, video-broken, input-shape,
    input-crop. Where `most` is given and not one file is there, the data is taken to be elsewhere."""
    reader = dataset.reader
    if not isinstance(reader, PictureReader):
        return
    seen, fits = _Seen(most is None or len(reader.items) <= most), set[tuple[int, int]]()
    for item, index in _glanced(reader.items, most):
        try:
            size = reader.size(index)
        except QdslError as error:
            _sort(seen, item, error)
            continue
        finally:
            seen.count += 1
        if size is not None and size not in fits and not _misfits(seen, reader, item, size):
            fits.add(size)
        if len(seen.broken) >= _MOST:
            break
    if most is not None and len(seen.missing) == seen.count:
        return
    _raise(seen, dataset, spec)


def spread(count: int, most: int | None) -> Sequence[int]:
    """At most `most` numbers from 0 to `count` - 1, evenly spread, the first among them."""
    if most is None or count <= most:
        return range(count)
    return [at * count // most for at in range(most)]


def _glanced(items: Sequence[Item], most: int | None) -> Iterator[tuple[Item, int]]:
    """The pictures to look at, with their places: each file once, however often it is drawn, and of its frames the
    first."""
    files: set[str] = set()
    for index in spread(len(items), most):
        item = items[index]
        if item.file not in files:
            files.add(item.file)
            yield item, index


def _sort(seen: _Seen, item: Item, error: QdslError) -> None:
    if any(each.code == "data-missing" for each in error.diagnostics):
        seen.missing.append(item)
        return
    seen.broken += [each if item.listed is None else replace(each, span=item.listed) for each in error.diagnostics]


def _misfits(seen: _Seen, reader: PictureReader, item: Item, size: tuple[int, int]) -> bool:
    """Whether pictures of this size do not fit; the first of each size says why."""
    if size in seen.misfits:
        seen.misfits[size][1].append(item)
        return True
    for pipeline in reader.pipelines.values():
        try:
            check_pictures(pipeline, size)
        except QdslError as error:
            seen.misfits[size] = error.diagnostics[0], [item]
            return True
    return False


def _raise(seen: _Seen, dataset: Dataset, spec: DataSpec) -> None:
    found = Diagnostics()
    if seen.missing:
        found.extend(_missing(seen, dataset, spec).diagnostics)
    found.extend(seen.broken)
    if seen.misfits:
        found.add(_misfit(seen))
    found.raise_errors()


def _missing(seen: _Seen, dataset: Dataset, spec: DataSpec) -> QdslError:
    first, count = seen.missing[0], len(seen.missing)
    if count == 1:
        headline = f"there is no file {first.id}, which dataset {dataset.name} lists"
    elif count == seen.count:
        headline = f"none of the {count} pictures that dataset {dataset.name} lists is there: the first is {first.id}"
    else:
        which = "pictures" if seen.whole else "pictures looked at"
        headline = f"{count} of {seen.count} {which} that dataset {dataset.name} lists are not there"
        headline += f": the first is {first.id}"
    help = ("put them where the list says, or take them out of it",)
    return failure("data-missing", headline, first.listed or spec.span, help=help)


def _misfit(seen: _Seen) -> Diagnostic:
    """The first size that does not fit, with how many pictures have it or another one."""
    (high, wide), (found, items) = next(iter(seen.misfits.items()))
    every = sum(len(each) for _, each in seen.misfits.values())
    notes = [f"{items[0].id} has {wide}x{high} pixels"]
    if every > 1:
        sizes = f", of {len(seen.misfits)} sizes" if len(seen.misfits) > 1 else ""
        notes.append(f"{every} of {seen.count} pictures{'' if seen.whole else ' looked at'} do not fit{sizes}")
    return replace(found, notes=(*found.notes, *notes))
