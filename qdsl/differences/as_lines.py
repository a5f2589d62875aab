"""A file as lines that a line-by-line diff can compare: what `git diff` shows once `qdsl git-setup` has been run.

One fact a line, each under the name of what it speaks of, so that lines of one thing stay side by side; figures with as
many digits as matter, so that noise does not show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from qdsl.diag import QdslError
from qdsl.differences.git import tracked, worktree
from qdsl.differences.of_lock import side_of_lock
from qdsl.differences.opening import Ask, of_recipe_text, sides
from qdsl.differences.side import Side, Tensor, Weight
from qdsl.lang.format import said
from qdsl.lock import parse as parse_lock
from qdsl.spec.words import mebibytes, percent, plain

_LARGEST_TEXT = 1 << 26
_LOCK = "qdsl-lock "
_SHOWN = 4  # scales of one tensor


def as_lines(path: Path) -> str:
    """The lines of the file at `path`. Files of other programs that happen to end in `.q` or `.lock`, and what cannot
    be read, come back as they are, or as their size and hash. Never fails on what a file holds."""
    if path.exists() and not path.is_file():
        return "not a file\n"  # a folder, a device, a pipe: reading it may never end
    if path.suffix in (".q", ".lock"):
        return _of_text(path)
    try:
        found = sides(str(path), Ask())
    except QdslError as error:
        return f"not a model that can be read: {plain(error.diagnostics[0].headline)}\n{_hashed(path)}\n"
    return _joined(line for side in found for line in _lines(side))


def _of_text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LARGEST_TEXT + 1)
    text = content.decode("utf-8", errors="replace")
    if len(content) > _LARGEST_TEXT or b"\0" in content:  # too large to compare, or no text
        return f"{_hashed(path)}\n"
    if path.suffix == ".lock" and not text.startswith(_LOCK):
        return text
    try:
        if path.suffix == ".lock":
            return _joined(_lines(side_of_lock(parse_lock(text, path.name), path.name)))
        statements = said(text, path.name)
    except QdslError:
        return text
    return _joined([*map(plain, statements), *_planned(path, text)])


def _planned(path: Path, text: str) -> Iterator[str]:
    """What the recipe makes of its model. git hands over a copy under the same name: its paths are read from where the
    one tracked file of that name stands; where there are several, nothing can be said."""
    root = worktree(Path.cwd())
    places = tracked(root, path.name) if root is not None else []
    if root is None or len(places) != 1:
        return
    try:
        planned = of_recipe_text(text, root / places[0])
    except QdslError as error:
        yield f"not planned: {plain(error.diagnostics[0].headline)}"
        return
    for side in planned:
        yield from [side.why] if side.why else _lines(side, statements=False)


def _lines(side: Side, *, statements: bool = True) -> Iterator[str]:
    yield f"{side.kind}{f' for {side.target}' if side.target else ''}"
    if side.size is not None:
        yield f"size {mebibytes(side.size)}"
    if side.macs and side.integer_macs is not None:
        yield f"integers {percent(side.integer_macs, side.macs)} of the multiply-accumulates"
    if statements:
        yield from map(plain, side.lines)
    for name, node in side.nodes.items():
        yield f"node {plain(name)}: {plain(node.op)}, {node}"
        written = [f"{key} {value}" for key, value in node.attributes]
        told = [*written, *([f"reads {', '.join(each or 'nothing' for each in node.sources)}"] if node.sources else [])]
        yield from [f"node {plain(name)}: {plain(', '.join(told))}"] if told else []
    for name, tensor in sorted(side.tensors.items()):
        yield from (f"tensor {plain(name)}: {what}" for what in _tensor(tensor))
    for name, weight in sorted(side.weights.items()):
        yield f"weight {plain(name)}: {_weight(weight)}"


def _tensor(tensor: Tensor) -> Iterator[str]:
    if tensor.low is not None and tensor.high is not None:
        yield f"[{tensor.low:.4g}, {tensor.high:.4g}], {plain(tensor.scheme)}"
        return
    yield tensor.scheme
    if tensor.scales:
        yield f"scale {_some(tensor.scales)}{f', zero point {_some(tensor.zeros)}' if tensor.zeros else ''}"
    if tensor.readers:
        yield f"read by {', '.join(map(plain, tensor.readers))}"
    if tensor.shares:
        yield f"one scale with {', '.join(map(plain, tensor.shares))}"


def _weight(weight: Weight) -> str:
    scales = f", scale {_some(weight.scales)}" if weight.scales else ""
    return f"{weight.scheme}{scales}{f', stored {weight.digest[:12]}' if weight.digest else ''}"


def _some(values: Sequence[float]) -> str:
    """The first few of them, with the digits that matter."""
    shown = " ".join(f"{value:.3g}" for value in values[:_SHOWN])
    return f"{shown} .. ({len(values)})" if len(values) > _SHOWN else shown


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _hashed(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{path.stat().st_size:,} bytes, sha256 {digest.hexdigest()}"
