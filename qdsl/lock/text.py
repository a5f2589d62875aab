"""A lock as text and back: one fact a line, sorted, so that a change shows as the lines that changed.

The last line is the SHA-256 of all lines before it: a number edited by hand, or two locks merged by a tool that knows
only lines, must not quietly become the scale of a tensor.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from itertools import zip_longest
from operator import attrgetter
from pathlib import Path
from typing import NoReturn

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.lock.types import (
    LOCK_VERSION,
    DataFile,
    Lock,
    LockedAssignment,
    LockedChoice,
    LockedMeans,
    LockedOutcome,
    LockedRange,
    LockedWeight,
    Named,
)
from qdsl.lock.words import TOKEN, WordError, count, number, quoted, read_number, sha256, unquoted

LARGEST = 1 << 26
_LONGEST_LINE = 1 << 18  # the means of some 20,000 channels
_MOST_LINES = 1 << 20
_HEADER = f"qdsl-lock {LOCK_VERSION}"
_HASHED = ("recipe", "model", "capability", "cache")
_ABOUT = "# What `qdsl compile` depended on, and the ranges it measured. `qdsl compile --update` writes it anew."
_VALUES = {"data": 4, "samples": 2, "tuned": 5, "assigned": 3, "allocated": 2, "rounded": 6}
_TAKEN = ("left", "taken")
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


def render(lock: Lock) -> str:
    """The text of a lock, the same bytes for the same facts."""
    body = "".join(f"{line}\n" for line in (_HEADER, _ABOUT, *_lines(lock)))
    return f"{body}sum {hashlib.sha256(body.encode()).hexdigest()}\n"


def _lines(lock: Lock) -> Iterator[str]:
    hashed: tuple[tuple[str, Named], ...] = (
        ("recipe", lock.recipe),
        ("model", lock.model),
        ("capability", lock.capability),
        ("cache", lock.caches),
    )
    said: tuple[tuple[str, Named], ...] = (("tool", lock.tools), ("cpu", lock.cpu))
    for word, pairs in hashed:
        yield from (f"{word} {quoted(name)} {digest}" for name, digest in sorted(pairs))
    for word, pairs in said:
        yield from (f"{word} {quoted(name)} {quoted(value)}" for name, value in sorted(pairs))
    for file in sorted(lock.data):
        yield f"data {quoted(file.data)} {quoted(file.name)} {file.times} {file.sha256}"
    if lock.ranges:
        yield f"samples {lock.samples} {lock.settled}"
    for found in sorted(lock.ranges, key=attrgetter("key")):
        chosen = f" {quoted(found.chosen)}" if found.chosen else ""
        yield f"range {quoted(found.tensor)} {number(found.low)} {number(found.high)} {quoted(found.method)}{chosen}"
    for one in sorted(lock.rounded):
        decibels = f"{number(one.before)} {number(one.after)}"
        yield f"rounded {quoted(one.target)} {quoted(one.tensor)} {quoted(one.scheme)} {one.sha256} {decibels}"
    for mean in sorted(lock.means):
        yield f"mean {quoted(mean.tensor)} {quoted(mean.data)} {' '.join(map(number, mean.means))}"
    for outcome in sorted(lock.allocated):
        yield f"allocated {quoted(outcome.target)} {quoted(outcome.evidence)}"
    for given in sorted(lock.assigned):
        yield f"assigned {quoted(given.target)} {quoted(given.node)} {quoted(given.choice)}"
    for choice in sorted(lock.tuned):
        names = f"{quoted(choice.target)} {quoted(choice.alternative)} {quoted(choice.node)}"
        yield f"tuned {names} {_TAKEN[choice.taken]} {quoted(choice.evidence)}"


def read(path: Path) -> Lock | None:
    """The lock at `path`, or None when there is none. Raises QdslError `lock-invalid`, with the line at fault."""
    name = str(path)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            _refuse(name, 0, "it is not a regular file")
        if found.st_size > LARGEST:
            _refuse(name, 0, f"it is larger than {LARGEST >> 20} MiB")
        with path.open("rb") as file:
            data = file.read(found.st_size)
    except FileNotFoundError:
        return None
    except OSError as error:
        _refuse(name, 0, f"it cannot be read: {error.strerror or type(error).__name__}")
    try:
        return parse(data.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        _refuse(name, data.count(b"\n", 0, error.start) + 1, "it is not UTF-8 text")


def parse(text: str, name: str = "<lock>") -> Lock:
    """The lock in `text`, where it is exactly what `render` writes; QdslError `lock-invalid` otherwise. Line ends may
    have been changed on the way (git on Windows)."""
    text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    if len(lines) > _MOST_LINES or max(map(len, lines)) > _LONGEST_LINE:
        _refuse(name, 0, "it has too many lines, or a line that is too long")
    _check_frame(lines, name)
    reader = _Reader()
    for at, line in enumerate(lines[2:-2], start=3):
        try:
            reader.line(line)
        except WordError as error:
            _refuse(name, at, str(error), line)
    lock = reader.lock()
    for at, (line, written) in enumerate(zip_longest(lines, render(lock).split("\n")), start=1):
        if line != written:
            edited = at == len(lines) - 1
            _refuse(name, at, "a line before was edited" if edited else "not as qdsl writes it here", line or "")
    return lock


def _check_frame(lines: list[str], name: str) -> None:
    for at, line in enumerate(lines, start=1):
        if line.startswith(_CONFLICT):
            _refuse(name, at, "a merge left its marks: take one side, then update", line)
    if lines[0] != _HEADER:
        known = lines[0].startswith("qdsl-lock ")
        _refuse(name, 1, f"expected `{_HEADER}`: {'another version' if known else 'this is no lock'}", lines[0])
    if len(lines) < 4 or lines[-1] or not lines[-2].startswith("sum "):
        _refuse(name, len(lines), "it ends too early: the last line is `sum` and a hash")


class _Reader:
    """Collects the facts of the lines, each checked for its own shape."""

    def __init__(self) -> None:
        self.named: dict[str, dict[str, str]] = {word: {} for word in (*_HASHED, "tool", "cpu")}
        self.data: dict[tuple[str, str], DataFile] = {}
        self.ranges: dict[tuple[str, str], LockedRange] = {}
        self.tuned: dict[tuple[str, str, str], LockedChoice] = {}
        self.means: dict[tuple[str, str], LockedMeans] = {}
        self.assigned: dict[tuple[str, str], LockedAssignment] = {}
        self.allocated: dict[str, LockedOutcome] = {}
        self.rounded: dict[tuple[str, str, str], LockedWeight] = {}
        self.counts: tuple[int, int] | None = None

    def line(self, line: str) -> None:
        """Take one line; WordError when it is none of ours. What repeats is caught by comparing with `render`."""
        words = TOKEN.findall(line)
        if " ".join(words) != line or not words:
            raise WordError("expected words with one space between them")
        kind, values = words[0], words[1:]
        if kind == "mean":
            self._mean(values)
            return
        if kind == "range":
            self._range(values)
            return
        wanted = {**_VALUES, **dict.fromkeys(self.named, 2)}.get(kind)
        if wanted is None:
            raise WordError(f"`{kind[:40]}` begins no line of a lock of this version")
        if len(values) != wanted:
            raise WordError(f"expected {wanted} values after `{kind}`, found {len(values)}")
        if kind in self.named:
            value = sha256(values[1]) if kind in _HASHED else unquoted(values[1])
            self.named[kind][unquoted(values[0])] = value
        elif kind == "data":
            file = DataFile(unquoted(values[0]), unquoted(values[1]), count(values[2]), sha256(values[3]))
            self.data[file.data, file.name] = file
        elif kind == "samples":
            self.counts = (count(values[0]), count(values[1]))
        elif kind == "assigned":
            given = LockedAssignment(*map(unquoted, values))
            self.assigned[given.target, given.node] = given
        elif kind == "rounded":
            self._rounded(values)
        elif kind == "allocated":
            outcome = LockedOutcome(*map(unquoted, values))
            self.allocated[outcome.target] = outcome
        else:
            self._tuned(values)

    def _mean(self, values: list[str]) -> None:
        if len(values) < 3:
            raise WordError(f"expected at least 3 values after `mean`, found {len(values)}")
        found = LockedMeans(unquoted(values[0]), unquoted(values[1]), tuple(map(read_number, values[2:])))
        self.means[found.tensor, found.data] = found

    def _tuned(self, values: list[str]) -> None:
        if values[3] not in _TAKEN:
            raise WordError("expected `taken` or `left`")
        target, alternative, node, evidence = (unquoted(values[at]) for at in (0, 1, 2, 4))
        taken = values[3] == _TAKEN[True]
        self.tuned[target, alternative, node] = LockedChoice(target, alternative, node, taken, evidence)

    def _rounded(self, values: list[str]) -> None:
        target, tensor, scheme = map(unquoted, values[:3])
        before, after = map(read_number, values[4:])
        self.rounded[target, tensor, scheme] = LockedWeight(target, tensor, scheme, sha256(values[3]), before, after)

    def _range(self, values: list[str]) -> None:
        if len(values) not in (4, 5):
            raise WordError(f"expected 4 or 5 values after `range`, found {len(values)}")
        low, high = read_number(values[1]), read_number(values[2])
        if low > high:
            raise WordError("the range ends before it begins")
        found = LockedRange(unquoted(values[0]), low, high, *map(unquoted, values[3:]))
        self.ranges[found.key] = found

    def lock(self) -> Lock:
        pairs = {word: tuple(sorted(found.items())) for word, found in self.named.items()}
        samples, settled = self.counts or (0, 0)
        return Lock(
            recipe=pairs["recipe"],
            model=pairs["model"],
            capability=pairs["capability"],
            tools=pairs["tool"],
            cpu=pairs["cpu"],
            data=tuple(sorted(self.data.values())),
            samples=samples,
            settled=settled,
            ranges=tuple(found for _, found in sorted(self.ranges.items())),
            tuned=tuple(sorted(self.tuned.values())),
            means=tuple(sorted(self.means.values())),
            caches=pairs["cache"],
            assigned=tuple(sorted(self.assigned.values())),
            allocated=tuple(sorted(self.allocated.values())),
            rounded=tuple(sorted(self.rounded.values())),
        )


def _refuse(name: str, line: int, why: str, text: str = "") -> NoReturn:
    span = Span(name, line, 1, line, len(text) + 1) if line else None
    raise QdslError(
        [
            Diagnostic(
                "lock-invalid",
                f"`{Path(name).name}` is not a usable lock",
                span,
                why,
                ("take it from version control again, or measure anew: `qdsl compile --update`",),
            )
        ]
    )
