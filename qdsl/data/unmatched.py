"""What a dataset holds that finds no place in it: counted and told, never dropped in silence.

One rule for every source. A picture that is listed and is not there, and a label of a class or category that is not
there, is an error. Labels and masks of pictures that are not in the dataset are a warning with their count, and so are
pictures in formats that are not read.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from qdsl.data.words import short
from qdsl.diag import Diagnostic, Severity
from qdsl.lang.recipe import DataSpec

# Pictures by their suffix that are not decoded here.
UNREAD = frozenset({".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".tga", ".psd", ".dng", ".exr", ".jfif"})
NOT_READ = "a format that is not read"
_MOST_READ = 1000  # files of which the first line is looked at
_LINE = 4096


def unmatched(spec: DataSpec, found: Sequence[str], what: tuple[str, str], cure: str) -> tuple[Diagnostic, ...]:
    """The warning that names the first of `found` and counts them; `what` one is, and several are. None for none."""
    if not found:
        return ()
    headline = f"dataset {spec.name} leaves out {f'1 {what[0]}' if len(found) == 1 else f'{len(found)} {what[1]}'}"
    label = f"the first: {short(found[0], 160)}"
    return (Diagnostic("data-unmatched", headline, spec.span, label, (cure,), severity=Severity.WARNING),)


def stray_labels(folders: Iterable[str], used: Collection[str]) -> list[str]:
    """The text files with boxes in `folders` (not below) that are none of `used`, as absolute paths in order."""
    found = sorted(path for folder in folders for path in _texts(folder) if path not in used)
    return [path for path in found[:_MOST_READ] if _holds_boxes(path)] + found[_MOST_READ:]


def _texts(folder: str) -> Iterator[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone, of many files
    except OSError:
        return
    yield from (f"{folder}/{name}" for name in names if name.endswith(".txt") and not name.startswith("."))


def _holds_boxes(path: str) -> bool:
    """Whether a text file is one of labels: empty, or with numbers in its first line. Lists of classes and of pictures,
    and notes, lie in the same folders."""
    try:
        with Path(path).open("rb") as file:
            words = file.readline(_LINE).split()
        return all(float(word) == float(word) for word in words) and (not words or len(words) >= 5)
    except (OSError, ValueError):
        return False
