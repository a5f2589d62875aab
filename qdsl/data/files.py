"""Finding files: globs, folders, and reading lists of them."""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from qdsl.data.image import SUFFIXES, open_file, reason
from qdsl.data.types import Item, failure
from qdsl.data.unmatched import NOT_READ, UNREAD
from qdsl.diag import Span
from qdsl.lang.recipe import DataSpec

MAX_FILES = 5_000_000
_T = TypeVar("_T")


def path_key(name: str) -> tuple[str, ...]:
    """Path order: part by part, by code point, so that it is the same on every file system and in every locale."""
    return tuple(name.split("/"))


def pictures_in(folder: Path, name: str, span: Span | None, unread: list[str]) -> list[tuple[str, Path]]:
    """The picture files of a folder and the folders below it: see `files_in`."""
    return files_in(folder, name, span, SUFFIXES, unread)


def files_in(
    folder: Path, name: str, span: Span | None, suffixes: frozenset[str], unread: list[str] | None = None
) -> list[tuple[str, Path]]:
    """The files with one of `suffixes` in a folder and below, as (path below it, path), in path order. Hidden files are
    passed over, and symlinked folders are not entered. Pictures of formats that are not read go to `unread`, each with
    why."""
    found: list[tuple[str, Path]] = []
    for parent, files in _walk(folder, name, span):
        for file in files:
            suffix = os.path.splitext(file)[1].lower()  # noqa: PTH122 - hot loop
            if file.startswith(".") or suffix not in suffixes:
                if unread is not None and suffix in UNREAD:
                    unread.append(f"{parent}/{file}: {NOT_READ}" if parent else f"{file}: {NOT_READ}")
                continue
            relative = f"{parent}/{file}" if parent else file
            found.append((relative, folder / relative))
        if len(found) > MAX_FILES:
            raise failure("data-size", f"{name} holds more than {MAX_FILES} files", span)
    return sorted(found, key=lambda pair: path_key(pair[0]))


def _walk(folder: Path, name: str, span: Span | None) -> Iterator[tuple[str, list[str]]]:
    def fail(error: OSError) -> None:
        code = "data-missing" if isinstance(error, FileNotFoundError) else "data-unreadable"
        verb = "there is no folder" if code == "data-missing" else "cannot read the folder"
        raise failure(code, f"{verb} {name}: {reason(error)}" if code != "data-missing" else f"{verb} {name}", span)

    for parent, _, files in os.walk(folder, onerror=fail):
        relative = Path(parent).relative_to(folder).as_posix()
        yield ("" if relative == "." else relative), files


def subfolders(folder: Path, name: str, span: Span | None) -> list[str]:
    """The names of the folders in `folder`, sorted; QdslError data-missing or data-unreadable."""
    try:
        return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        raise failure("data-missing", f"there is no folder {name}", span) from None
    except OSError as error:
        raise failure("data-unreadable", f"{name} cannot be read: {reason(error)}", span) from None


def read_text(path: Path, name: str, span: Span | None, limit: int) -> str:
    """A text file of at most `limit` bytes: UTF-8, or UTF-16 where its first bytes say so, as spreadsheets write it."""
    with open_file(path, name, span, limit) as file:
        try:
            content = file.read(limit)
            wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            return content.decode("utf-16" if wide else "utf-8-sig")
        except (UnicodeDecodeError, OSError) as error:
            help = ("save it as UTF-8",) if isinstance(error, UnicodeDecodeError) else ()
            headline = f"{name} cannot be read as UTF-8 text: {reason(error)}"
            raise failure("data-unreadable", headline, span, help=help) from None


def written(spec: DataSpec, index: int) -> str:
    """Path `index` as the recipe wrote it, for messages and ids."""
    return spec.written[index] if index < len(spec.written) else Path(spec.paths[index]).name


def expand(spec: DataSpec, suffixes: frozenset[str], unread: list[str] | None = None) -> list[tuple[str, Path]]:
    """Every file that the paths of `spec` name (a file, a folder, a glob, or several of them), each once.

    With one path the name of a file is its path below that folder or the fixed part of the glob; with several, the path
    as the recipe wrote it stands in front, so that names stay apart. In path order. `unread` as for `files_in`.
    """
    found: dict[str, tuple[str, Path]] = {}
    for index, text in enumerate(spec.paths):
        shown = written(spec, index)
        root, files = _one(Path(text), shown, spec.span, suffixes, unread)
        prefix = f"{_fixed(shown)}/" if len(spec.paths) > 1 and root else ""
        for name, path in files:
            full = name if root else shown
            found.setdefault(os.path.normpath(path), (prefix + full if root else full, path))
    return sorted(found.values(), key=lambda pair: path_key(pair[0]))


def _one(
    path: Path, shown: str, span: Span, suffixes: frozenset[str], unread: list[str] | None
) -> tuple[bool, list[tuple[str, Path]]]:
    """(is it a folder or glob, files as (name, path))."""
    if path.is_dir():
        return True, files_in(path, shown, span, suffixes, unread)
    if path.exists() or not glob.has_magic(str(path)):
        open_file(path, shown, span, 1 << 62).close()
        return False, [(path.name, path)]
    root = Path(_fixed(str(path)))
    matches = [Path(m) for m in glob.iglob(str(path), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute pattern
    if unread is not None:
        others = (m for m in matches if m.suffix.lower() in UNREAD and m.is_file())
        unread += [f"{m.relative_to(root).as_posix()}: {NOT_READ}" for m in others]
    files = [(m.relative_to(root).as_posix(), m) for m in matches if m.suffix.lower() in suffixes and m.is_file()]
    return True, files


def _fixed(text: str) -> str:
    """The leading parts of a path that hold no glob character."""
    parts: list[str] = []
    for part in Path(text).parts:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts).as_posix() if parts else "."


def chosen(items: Sequence[_T], names: Iterable[str], take: tuple[int, int | None] | None) -> tuple[_T, ...]:
    """`take N seed S` of items in path order: without a seed the first N; with one, the N whose names rank lowest by
    SHA-256 of seed and name. Either way in path order, independent of the file system, numpy and the hash seed; with a
    seed, adding files to the folder changes the choice only by those files."""
    if take is None or take[0] >= len(items):
        return tuple(items)
    count, seed = take
    if seed is None:
        return tuple(items[:count])
    ranks = [rank(seed, name) for name in names]
    keep = sorted(range(len(items)), key=lambda i: (ranks[i], i))[:count]
    return tuple(items[i] for i in sorted(keep))


def rank(seed: int, name: str, turn: int = 0) -> bytes:
    """Where a sample stands in a draw, and where one of its repeats does."""
    text = f"{seed}\0{name}" + (f"\0{turn}" if turn else "")
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


def item_names(items: Iterable[Item]) -> list[str]:
    return [item.id for item in items]
