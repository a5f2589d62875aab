"""The dataset description of YOLO: a YAML file, read as a tree of plain text. Nothing in it is ever made an object.

Keys that are read: `path`, `train`, `val`, `test`, `minival` (a path, or a list of them), `nc` (a whole number),
`names` (a list, or a mapping from class number to name) and `kpt_shape` (how many keypoints stand behind each box, and
the numbers of each). What trainers and exporters write beside them (`IGNORED`) says
nothing to a dataset of pictures and is passed over: a `download` is never carried out. Any other key is warned of.
Each error stands at the line and column of the file that it speaks of (`data-yaml`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import yaml

from qdsl.data.types import failure
from qdsl.data.words import MAX_CLASSES, class_problem, short
from qdsl.diag import QdslError, Span, nearest
from qdsl.diag.model import Diagnostic, Severity

SPLITS = ("train", "val", "test", "minival")
KEYS = ("path", *SPLITS, "nc", "names", "kpt_shape")
IGNORED = frozenset({"download", "roboflow", "kpt_names", "flip_idx", "channels"})
MAX_NODES = 50_000  # texts, lists and mappings; 21,000 class names by number are 42,000
MAX_DEPTH = 16
_DIGITS = 6
_PLAIN = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_NOTHING = ("", "~", "null", "Null", "NULL")


class Place(NamedTuple):
    """A path as the file writes it, and where it does."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class YoloYaml:
    """What the file says: the dataset's root, image locations by split, class names by index; what to tell; and how
    many numbers of keypoints stand behind those of a box."""

    root: Place
    splits: dict[str, tuple[Place, ...]]
    names: tuple[str, ...]
    notes: tuple[Diagnostic, ...] = ()
    keypoints: int = 0


def parse(text: str, file: str) -> YoloYaml:
    """Read a description; `file` names it in diagnostics. QdslError data-yaml."""
    values, notes = _top(_tree(text, file), file)
    splits = {split: _places(values[split], split, file) for split in SPLITS if split in values}
    roots = _places(values["path"], "path", file) if "path" in values else ()
    if len(roots) > 1:
        raise _error(file, values["path"], "`path` must be one path")
    root = roots[0] if roots else Place("", _span(file))
    splits = {split: found for split, found in splits.items() if found}
    return YoloYaml(root, splits, _names(values, file), notes, _keypoints(values.get("kpt_shape"), file))


class _Tree(yaml.BaseLoader):
    """Composes nodes whose scalars all stay text, and no more of them than a dataset's description needs."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH or self._count > MAX_NODES:
            what = "it is nested too deeply" if self._depth > MAX_DEPTH else f"it holds more than {MAX_NODES} values"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=self.get_mark())
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _tree(text: str, file: str) -> yaml.Node | None:
    try:
        return _Tree(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "it is not YAML"
        raise _at(_span(file, mark), f"not YAML: {short(what, 160)}") from None
    except yaml.reader.ReaderError as error:
        *above, line = text[: int(error.position)].split("\n")
        span = _span(file, yaml.Mark(file, 0, len(above), len(line), None, 0))
        raise _at(span, "not YAML: a control character, or one that YAML does not know") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # such as "\UFFFFFFFF", which is past the last character
        raise _at(_span(file), "not YAML: a number or an escaped character in it is out of range") from None


def _top(node: yaml.Node | None, file: str) -> tuple[dict[str, yaml.Node], tuple[Diagnostic, ...]]:
    """The values of the keys that are read, and a warning for each key that nobody knows."""
    if node is None:
        return {}, ()
    if not isinstance(node, yaml.MappingNode):
        raise _error(file, node, "expected `key: value` lines")
    values: dict[str, yaml.Node] = {}
    notes: list[Diagnostic] = []
    for key_node, value in node.value:
        key = _scalar(key_node, "a key must be plain text", file)
        if key in values:
            raise _error(file, key_node, f"`{key}` is written twice")
        if key in KEYS:
            _require_no_tag(value, file)
            values[key] = value
        elif key not in IGNORED:
            notes.append(_unknown(key, key_node, file))
    return values, tuple(notes)


def _unknown(key: str, node: yaml.Node, file: str) -> Diagnostic:
    close = nearest(key, KEYS)
    cure = f"did you mean `{close[0]}`?" if close else f"the keys that are read are {', '.join(KEYS)}"
    headline = f"{file}: the key `{short(key)}` is not read"
    span = _span(file, node.start_mark)
    return Diagnostic("data-yaml-key", headline, span, "", (cure,), severity=Severity.WARNING)


def _places(node: yaml.Node, key: str, file: str) -> tuple[Place, ...]:
    """The paths under a key; none where it is empty."""
    what = f"`{key}` must be a path" + ("" if key == "path" else " or a list of paths")
    entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
    found = [(entry, _scalar(entry, what, file)) for entry in entries]
    return tuple(Place(text.strip(), _span(file, entry.start_mark)) for entry, text in found if not _empty(entry, text))


def _names(values: dict[str, yaml.Node], file: str) -> tuple[str, ...]:
    node = values.get("names")
    if node is None or (isinstance(node, yaml.ScalarNode) and _empty(node, node.value)):
        entries: list[yaml.Node] = []
    elif isinstance(node, yaml.SequenceNode):
        entries = list(node.value)
    elif isinstance(node, yaml.MappingNode):
        entries = _by_number(node, file)
    else:
        raise _error(file, node, "`names` must be a list of names, or a mapping from number to name")
    if len(entries) > MAX_CLASSES:
        raise _error(file, entries[0], f"`names` has more than {MAX_CLASSES} entries")
    names = tuple(_scalar(entry, "a class name must be plain text", file) for entry in entries)
    for entry, name in zip(entries, names, strict=True):
        problem = class_problem(name)
        if problem:
            raise _error(file, entry, f"the class name `{short(name)}` cannot be used: {problem}")
    _check_count(values.get("nc"), len(names), file)
    return names


def _keypoints(node: yaml.Node | None, file: str) -> int:
    if node is None or (isinstance(node, yaml.ScalarNode) and _empty(node, node.value)):
        return 0
    what = "`kpt_shape` must be two whole numbers, such as [17, 3]"
    if not isinstance(node, yaml.SequenceNode) or len(node.value) != 2:
        raise _error(file, node, what)
    return _whole(node.value[0], what, file) * _whole(node.value[1], what, file)


def _by_number(node: yaml.MappingNode, file: str) -> list[yaml.Node]:
    """The names of a mapping in the order of their numbers, which must be 0, 1, 2, .."""
    found: dict[int, yaml.Node] = {}
    for key, value in node.value:
        number = _whole(key, "the keys of `names` must be whole numbers", file)
        if number in found:
            raise _error(file, key, f"`{number}` is written twice in `names`")
        if number >= len(node.value):
            raise _error(file, key, f"the keys of `names` must be 0 to {len(node.value) - 1}, each once")
        found[number] = value
    return [found[number] for number in range(len(found))]


def _check_count(node: yaml.Node | None, named: int, file: str) -> None:
    if node is None or (isinstance(node, yaml.ScalarNode) and _empty(node, node.value)):
        return
    count = _whole(node, "`nc` must be a whole number", file)
    if named and count != named:
        raise _error(file, node, f"`nc` says {count}, but `names` has {named}")


def _whole(node: yaml.Node, what: str, file: str) -> int:
    text = _scalar(node, what, file)
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise _error(file, node, what)
    return int(text)


def _scalar(node: yaml.Node, what: str, file: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _error(file, node, what)
    _require_no_tag(node, file)
    return str(node.value)


def _require_no_tag(node: yaml.Node, file: str) -> None:
    if node.tag not in _PLAIN:
        raise _error(file, node, f"the tag `{short(node.tag)}` is not read: write the value without it")


def _empty(node: yaml.Node, text: str) -> bool:
    """Whether a value is left out: nothing behind the key, or YAML's word for nothing, outside quotes."""
    return getattr(node, "style", None) is None and text in _NOTHING


def _error(file: str, node: yaml.Node, what: str) -> QdslError:
    return _at(_span(file, node.start_mark), what)


def _at(span: Span, what: str) -> QdslError:
    return failure("data-yaml", f"{span.file}: {what}", span)


def _span(file: str, mark: yaml.Mark | None = None) -> Span:
    """Where a mark is, the file's first character without one."""
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Span(file, line, column, line, column)
