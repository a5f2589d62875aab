"""The dataset description of YOLO, read strictly: the subset of YAML that such files need, and nothing else.

Keys: `path`, `train`, `val`, `test` (text, or a list of texts), `nc` (a whole number) and `names` (a list, or a mapping
from class number to name; block or flow style). Text is plain, 'single' or "double" quoted. Anchors, tags, block
scalars, nested mappings and unknown keys are refused with the line they stand on (`data-yaml`), so that nothing of a
file is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from qdsl.data.types import failure
from qdsl.diag import Span

KEYS = ("path", "train", "val", "test", "nc", "names")
SPLITS = ("train", "val", "test")
MAX_CLASSES = 100_000
_Value = str | list[str] | dict[str, str]
_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[^\s:#'"\[\]{},&*!|>%@`-][^:#]*?)\s*:(?:\s+|$)(.*)""")


@dataclass(frozen=True, slots=True)
class YoloYaml:
    """What the file says: `root` below which everything lies, image locations by split, class names by index."""

    root: str
    splits: dict[str, tuple[str, ...]]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    indent: int
    text: str


def parse(text: str, file: str) -> YoloYaml:
    """Read a description; `file` names it in diagnostics. QdslError data-yaml."""
    values = _top(_lines(text, file), file)
    splits: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        if split in values:
            line, value = values[split]
            if isinstance(value, dict):
                raise _error(file, line, f"`{split}` must be a path or a list of paths")
            found = tuple(value) if isinstance(value, list) else (value,)
            splits[split] = tuple(v for v in found if v)
    root_line, root = values.get("path", (0, ""))
    if not isinstance(root, str):
        raise _error(file, root_line, "`path` must be one path")
    return YoloYaml(root, {k: v for k, v in splits.items() if v}, _names(values, file))


def _names(values: dict[str, tuple[int, _Value]], file: str) -> tuple[str, ...]:
    line, found = values.get("names", (1, []))
    count_line, count = values.get("nc", (0, None))
    if isinstance(found, str):
        raise _error(file, line, "`names` must be a list of names, or a mapping from number to name")
    if isinstance(found, dict):
        if any(not re.fullmatch(r"\d{1,6}", key) for key in found):
            raise _error(file, line, "the keys of `names` must be whole numbers")
        by_number = {int(key): name for key, name in found.items()}
        if sorted(by_number) != list(range(len(found))):
            raise _error(file, line, f"the keys of `names` must be 0 to {len(found) - 1}, each once")
        found = [by_number[i] for i in range(len(found))]
    if count is not None and (not isinstance(count, str) or not re.fullmatch(r"\d{1,6}", count)):
        raise _error(file, count_line, "`nc` must be a whole number")
    if count is not None and found and int(str(count)) != len(found):
        raise _error(file, count_line, f"`nc` says {count}, but `names` has {len(found)}")
    return tuple(found)


def _lines(text: str, file: str) -> list[_Line]:
    lines: list[_Line] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        bare = _without_comment(raw).rstrip()
        if not bare.strip() or (bare == "---" and not lines):
            continue
        if "\t" in bare[: len(bare) - len(bare.lstrip())]:
            raise _error(file, number, "a tab indents this line; YAML takes spaces only")
        lines.append(_Line(number, len(bare) - len(bare.lstrip()), bare.strip()))
    return lines


def _without_comment(raw: str) -> str:
    quote = ""
    for i, c in enumerate(raw):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"" and (i == 0 or raw[i - 1] in " \t[{,:-"):
            quote = c
        elif c == "#" and (i == 0 or raw[i - 1] in " \t"):
            return raw[:i]
    return raw


def _top(lines: list[_Line], file: str) -> dict[str, tuple[int, _Value]]:
    values: dict[str, tuple[int, _Value]] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        matched = _KEY.fullmatch(line.text)
        if line.indent or not matched:
            raise _error(file, line.number, f"cannot read `{line.text[:60]}` here: expected `key: value`")
        key = _scalar(matched[1], file, line.number)
        if key not in KEYS:
            raise _error(file, line.number, f"unknown key `{key[:60]}`", "known keys: " + ", ".join(KEYS))
        if key in values:
            raise _error(file, line.number, f"`{key}` is written twice")
        at += 1
        if matched[2]:
            values[key] = (line.number, _inline(matched[2], file, line.number))
            continue
        block: list[_Line] = []
        while at < len(lines) and (lines[at].indent or lines[at].text.startswith("- ")):
            block.append(lines[at])
            at += 1
        values[key] = (line.number, _block(block, file))
    return values


def _block(lines: list[_Line], file: str) -> _Value:
    """The indented lines under a key: a list, a mapping, or nothing (empty text)."""
    items: list[str] = []
    pairs: dict[str, str] = {}
    for line in lines:
        if line.indent != lines[0].indent:
            raise _error(file, line.number, "this line is indented differently from the one above; nesting is not read")
        if line.text.startswith("- "):
            items.append(_scalar(line.text[2:], file, line.number))
        elif matched := _KEY.fullmatch(line.text):
            key, value = (_scalar(part, file, line.number) for part in matched.groups())
            _put(pairs, key, value, file, line.number)
        else:
            raise _error(file, line.number, f"cannot read `{line.text[:60]}` here")
        if items and pairs:
            raise _error(file, line.number, "a list and a mapping are mixed here")
        _bounded(items or pairs, file, line.number)
    return pairs or items or ""


def _inline(text: str, file: str, line: int) -> _Value:
    text = text.strip()
    if text[0] == "[":
        if text[-1] != "]":
            raise _error(file, line, "this list does not end on its line")
        items = [_scalar(part, file, line) for part in _split(text[1:-1], file, line)]
        _bounded(items, file, line)
        return items
    if text[0] == "{":
        if text[-1] != "}":
            raise _error(file, line, "this mapping does not end on its line")
        pairs: dict[str, str] = {}
        for part in _split(text[1:-1], file, line):
            matched = _KEY.fullmatch(part)
            if not matched:
                raise _error(file, line, f"cannot read `{part.strip()[:60]}` here: expected `key: value`")
            _put(pairs, _scalar(matched[1], file, line), _scalar(matched[2], file, line), file, line)
        _bounded(pairs, file, line)
        return pairs
    return _scalar(text, file, line)


def _put(pairs: dict[str, str], key: str, value: str, file: str, line: int) -> None:
    if key in pairs:
        raise _error(file, line, f"`{key[:60]}` is written twice")
    pairs[key] = value


def _bounded(found: list[str] | dict[str, str], file: str, line: int) -> None:
    if len(found) > MAX_CLASSES:
        raise _error(file, line, f"more than {MAX_CLASSES} entries")


def _split(text: str, file: str, line: int) -> list[str]:
    """The parts between commas that stand outside quotes; a trailing comma is allowed."""
    parts, quote = [""], ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "[]{}":
            raise _error(file, line, "nested lists and mappings are not read")
        elif c == ",":
            parts.append("")
            continue
        parts[-1] += c
    return parts if parts[-1].strip() else parts[:-1]


def _scalar(text: str, file: str, line: int) -> str:
    text = text.strip()
    if text[:1] in ("'", '"'):
        inner = text[1:-1]
        if len(text) < 2 or text[-1] != text[0] or text[0] in inner or (text[0] == '"' and "\\" in inner):
            raise _error(file, line, f"cannot read the quoted text {text[:60]}")
        return inner
    if text[:1] in tuple("&*!|>%@`[]{},") or ": " in text:
        raise _error(file, line, f"cannot read `{text[:60]}`: anchors, tags, block text and nesting are not read")
    return "" if text in ("null", "~") else text


def _error(file: str, line: int, what: str, *help: str) -> Exception:
    span = Span(file, max(1, line), 1, max(1, line), 1)
    return failure("data-yaml", f"{file}: {what}", span, help=help)
