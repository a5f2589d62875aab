"""What an emitted file says of where it comes from, as data: no time, no path, no host.

It stands as one JSON text in the model's `metadata_props`, under `KEY`. Whoever gets the file may have changed it, so
it is read as strictly as everything else that others may have written: every text and list is bounded, and a name is
one that stays below the folder it is written to.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from qdsl.spec.bounds import Check, Count, Many, OneOf, Sha256, Text

KEY = "qdsl.provenance"
FORMAT = 1
# What a file may carry of its recipe: all of it, only the hashes of it, or no provenance at all.
CARRIED = ("text", "hashes", "none")
MOST_TEXT = 1 << 25  # characters of the whole, of which sixteen recipes of 1 MiB are the most
MOST_FILES = 16
MARK = 16  # characters of a mark: eight of the name's hash, eight of the value's
_MOST_UP = 16
_LONGEST_NAME, _LONGEST_PART = 400, 200

Word = Annotated[str, Text(1000)]
Pairs = tuple[tuple[Word, Word], ...]


def name_problem(name: str) -> str:
    """Why `name` is none of a recipe's files: such a name is relative, and `..` stands at its beginning alone."""
    parts = name.split("/")
    up = _upward(parts)
    if len(name) > _LONGEST_NAME or any(len(part) > _LONGEST_PART for part in parts):
        return "expected a shorter name of a file"
    if not name.isprintable() or "\\" in name or ":" in name:
        return "expected the name of a file in printable characters, without `:` and `\\`"
    if up == len(parts) or up > _MOST_UP or any(part in ("", ".", "..") for part in parts[up:]):
        return "expected a relative name of a file"
    return ""


def levels_up(name: str) -> int:
    """How many folders above the recipe's own the file stands."""
    return _upward(name.split("/"))


def _upward(parts: list[str]) -> int:
    return next((at for at, part in enumerate(parts) if part != ".."), len(parts))


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """One file of the recipe: `name` as seen from the recipe's folder; `text` is None where only its hash is carried.
    The hash is that of the text in UTF-8, without a byte order mark."""

    name: Annotated[str, Check(name_problem)]
    sha256: Sha256
    text: Annotated[str, Text(1 << 20)] | None

    def problem(self) -> str:
        if self.text is None:
            return ""
        try:
            content = self.text.encode("utf-8")
        except UnicodeEncodeError:
            return "text: expected a text that UTF-8 can write"
        if hashlib.sha256(content).hexdigest() != self.sha256:
            return "sha256: expected the hash of the text beside it"
        return ""


@dataclass(frozen=True, slots=True)
class DataUsed:
    """A dataset that calibrated: how many files gave how many samples, and one hash of their names and contents."""

    name: Word
    files: Count
    samples: Count
    sha256: Sha256


@dataclass(frozen=True, slots=True)
class Content:
    """Hashes of what a model file holds, apart from the model's own metadata: its nodes (with attributes, names and
    functions), its constants, and what it declares (inputs, outputs, types, versions)."""

    nodes: Sha256
    constants: Sha256
    declarations: Sha256


@dataclass(frozen=True, slots=True)
class Provenance:
    """`files` are the recipe, then what it extends, base-most last; `parameters` its parameters with their values, None
    where only hashes are carried. `statements` is a hash of what the lock calls the recipe: what it says, whatever its
    layout. `model` are the float model and the files of its external data, each with its hash, `tables` the target's
    table, `cpus` the kinds of CPU on which sums are exact, `tools` versions. `pinned` marks what the lock has of this
    build: ranges, means and choices, 16 hexadecimal digits each (`qdsl.provenance.marks`)."""

    recipe: Word
    files: Annotated[tuple[RecipeFile, ...], Many(1, MOST_FILES)]
    parameters: Annotated[Pairs, Many(most=1000)] | None
    statements: Sha256
    model: Annotated[tuple[tuple[Word, Sha256], ...], Many(1, 10_000)]
    data: Annotated[tuple[DataUsed, ...], Many(most=1000)]
    pinned: Annotated[str, Text(MOST_TEXT)]
    target: Word
    mode: Annotated[str, OneOf(("static", "dynamic", "float"))]
    cpus: Annotated[tuple[Word, ...], Many(most=100)]
    tables: Annotated[tuple[tuple[Word, Sha256], ...], Many(most=100)]
    plan_sha256: Sha256
    tools: Annotated[Pairs, Many(most=100)]
    content: Content

    def problem(self) -> str:
        names = [file.name.casefold() for file in self.files]
        if len(set(names)) != len(names):
            return f"two files are called `{Counter(names).most_common(1)[0][0][:60]}`"
        for word, pairs in (("model", self.model), ("tables", self.tables), ("tools", self.tools)):
            if len(dict(pairs)) != len(pairs):
                return f"{word}: expected each name once"
        if len({used.name for used in self.data}) != len(self.data):
            return "data: expected each name once"
        if len(self.pinned) % MARK or not re.fullmatch("[0-9a-f]*", self.pinned):
            return f"pinned: expected {MARK} hexadecimal digits for each range"
        return ""
