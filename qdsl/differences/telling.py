"""A difference for readers: as text for a terminal, as Markdown for a pull request, as data for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Any

from qdsl.differences.comparing import Difference, Moved, NodeChange, TensorChange, WeightChange
from qdsl.differences.side import Side
from qdsl.spec.words import count, mebibytes, percent, plain

_STATEMENTS, _ENDS = "statements", "what it takes and gives"
MOST = 20  # lines of one kind in a text
_LONGEST = 120
_ARROW = "->"


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of change: its heading, its lines, each (name, what became of it), and how many more there are."""

    title: str
    rows: tuple[tuple[str, str], ...]
    more: int = 0


def as_text(found: Difference, most: int = MOST) -> str:
    """The whole difference, a heading for each kind of change."""
    lines = [f"{plain(found.before.name)} {_ARROW} {plain(found.after.name)}{_target(found)}"]
    if found.equal:
        return "\n".join([*lines, *_equal(found)]) + "\n"
    for part in parts(found, most):
        lines.append(part.title)
        width = min(max((len(name) for name, _ in part.rows), default=0), 48)
        lines += [f"  {name:<{width}}  {what}".rstrip() for name, what in part.rows]
        lines += [f"  and {part.more:,} more"] if part.more else []
    return "\n".join([*lines, *totals(found)]) + "\n"


def as_markdown(found: Difference, most: int = MOST) -> str:
    """The same for a comment on a code host: totals first, each kind of change folded."""
    head = f"### {_code(found.before.name)} → {_code(found.after.name)}{_target(found)}"
    if found.equal:
        return "\n\n".join([head, *_equal(found)]) + "\n"
    lines = totals(found)
    told = [head, *(["\n".join(f"- {_escaped(' '.join(line.split()))}" for line in lines)] if lines else [])]
    for part in parts(found, most):
        if part.title in (_STATEMENTS, _ENDS):
            told.append(_statements(part))
            continue
        rows = [f"| {_code(name)} | {_escaped(what)} |" for name, what in part.rows]
        rows += [f"| and {part.more:,} more | |"] if part.more else []
        table = "\n".join(["| | |", "| --- | --- |", *rows])
        told.append(f"<details><summary>{_escaped(part.title)}</summary>\n\n{table}\n\n</details>")
    return "\n\n".join(told) + "\n"


def _statements(part: Part) -> str:
    """As code hosts colour a diff; the fence is longer than any run of backticks inside."""
    lines = [name for name, _ in part.rows] + ([f"  and {part.more:,} more"] if part.more else [])
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in _runs(line)), default=0))
    return "\n".join([f"{fence}diff", *lines, fence])


def parts(found: Difference, most: int) -> Iterator[Part]:
    """What changed, kind by kind; none that has nothing in it."""
    said = _ENDS if found.after.kind == "model" else _STATEMENTS
    yield from _part(said, found.statements, lambda line: (_cut(line), ""), most)
    yield from _part(_node_title(found.nodes), found.nodes, _node, most)
    yield from _part(_tensor_title(found.tensors), found.tensors, _tensor, most)
    yield from _part(_moved_title(found), found.moved, _moved, most)
    yield from _part(f"weights: {len(found.weights):,} changed", found.weights, _weight, most)


def _part(title: str, changes: Sequence[Any], row: Callable[[Any], tuple[str, str]], most: int) -> Iterator[Part]:
    if changes:
        rows = ((_name(name), what) for name, what in map(row, changes[:most]))
        yield Part(title, tuple(rows), max(0, len(changes) - most))


def totals(found: Difference) -> list[str]:
    """The last lines: weights that stayed, sizes, and how much is multiplied in integers."""
    lines = [side.why for side in (found.before, found.after) if side.why]
    lines += _renamed(found)
    if found.kept is not None:
        lines.append(f"weights     {found.kept:,} stored as before, {len(found.weights):,} changed")
    if found.small:
        lines.append(f"scales      {found.small:,} more moved by less than {100 * found.least:g} %")
    before, after = found.before.size, found.after.size
    if before and after:
        lines.append(f"size        {_size(found.before)} {_ARROW} {_size(found.after)}{_share_of(before, after)}")
    old, new = _integers(found.before), _integers(found.after)
    if old and new:
        lines.append(f"integers    {old} {_ARROW} {new} of the multiply-accumulates")
    return lines


def _renamed(found: Difference) -> list[str]:
    """Said where hardly any node has its name on both sides: then all of them are told as gone and new."""
    old, new = found.before.nodes, found.after.nodes
    both = sum(name in new for name in old)
    if not old or not new or 10 * both >= min(len(old), len(new)):
        return []
    same = Counter(node.op for node in old.values()) == Counter(node.op for node in new.values())
    why = "the operators are the same, so an exporter may have renamed them" if same else "the operators differ, too"
    return [f"names       {both:,} of {count(len(old), 'node')} and {len(new):,} are called alike; {why}"]


def as_data(found: Difference) -> dict[str, Any]:
    """Everything, nothing left out; infinite moves are null."""
    return {
        "before": _side(found.before),
        "after": _side(found.after),
        "equal": found.equal,
        "statements": list(found.statements),
        "nodes": [
            {
                "node": change.node,
                "op": next((side.op for side in (change.after, change.before) if side is not None), ""),
                "before": None if change.before is None else str(change.before),
                "after": None if change.after is None else str(change.after),
                "also": list(change.details),
            }
            for change in found.nodes
        ],
        "tensors": [
            {"tensor": each.tensor, "what": each.what, "before": each.before, "after": each.after}
            for each in found.tensors
        ],
        "scales": [
            {
                "name": each.name,
                "of": each.of,
                "moved_by": None if isinf(each.by) else each.by,
                "before": list(each.before),
                "after": list(each.after),
                "zero_points": None if each.zeros is None else list(each.zeros),
            }
            for each in found.moved
        ],
        "scales_below": {"share": found.least, "count": found.small},
        "weights": [{"weight": w.weight, "before": w.before, "after": w.after} for w in found.weights],
        "weights_kept": found.kept,
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "kind": side.kind,
        "target": side.target,
        "size": side.size,
        "size_is_predicted": side.foreseen,
        "macs": side.macs,
        "integer_macs": side.integer_macs,
        "not_read": side.why,
    }


def _equal(found: Difference) -> list[str]:
    small = f"; {count(found.small, 'scale')} moved by less than {100 * found.least:g} %" if found.small else ""
    said = "the statements are the same" if found.before.why or found.after.why else "no difference"
    return [f"{said}{small}", *(side.why for side in (found.before, found.after) if side.why)]


def _target(found: Difference) -> str:
    return f", target {found.after.target}" if found.after.target else ""


_NODE = {
    "new": "new",
    "gone": "gone",
    "precision": "in another precision",
    "computes": "with other attributes or inputs",
}


def _node_title(changes: Iterable[NodeChange]) -> str:
    kinds = Counter(_NODE[change.what] for change in changes)
    return f"nodes: {', '.join(f'{number:,} {kind}' for kind, number in sorted(kinds.items()))}"


def _node(change: NodeChange) -> tuple[str, str]:
    before = "not there" if change.before is None else str(change.before)
    after = "not there" if change.after is None else str(change.after)
    if change.before and change.after and change.before.op != change.after.op:
        before, after = f"{plain(change.before.op)}, {before}", f"{plain(change.after.op)}, {after}"
    told = [] if change.what == "computes" else [f"{before} {_ARROW} {after}"]
    return plain(change.node), _cut("; ".join([*told, *change.details]))


def _name(text: str) -> str:
    """Both ends of a name: code hosts take comments of 65,536 characters, and names come from files."""
    return text if len(text) <= 2 * _LONGEST else f"{text[:_LONGEST]}…{text[-_LONGEST:]}"


def _cut(text: str) -> str:
    shown = plain(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


_TENSOR = {
    "gained": "gained Q/DQ",
    "lost": "lost Q/DQ",
    "scheme": "in another type",
    "readers": "with other readers",
    "shares": "sharing otherwise",
}


def _tensor_title(changes: Iterable[TensorChange]) -> str:
    kinds = Counter(change.what for change in changes)
    return f"tensors: {', '.join(f'{kinds[what]:,} {words}' for what, words in _TENSOR.items() if kinds[what])}"


def _tensor(change: TensorChange) -> tuple[str, str]:
    before, after = _cut(change.before), _cut(change.after)
    if change.what == "gained":
        return f"+ {plain(change.tensor)}", after
    if change.what == "lost":
        return f"- {plain(change.tensor)}", before
    if change.what == "scheme":
        return f"~ {plain(change.tensor)}", f"{before} {_ARROW} {after}"
    word = "read by" if change.what == "readers" else "one scale with"
    told = [f"no longer {word} {before}"] if before and change.what == "readers" else []
    told += [f"now {word} {after or 'nothing'}"] if after or change.what == "shares" else []
    return f"~ {plain(change.tensor)}", ", ".join(told)


def _moved_title(found: Difference) -> str:
    ranges = "lock" in (found.before.kind, found.after.kind)
    return f"{'ranges' if ranges else 'scales'}: {len(found.moved):,} moved by {100 * found.least:g} % or more"


def _moved(move: Moved) -> tuple[str, str]:
    if move.of == "range":
        what = f"[{_figures(move.before)}] {_ARROW} [{_figures(move.after)}]"
    elif isinf(move.by) and move.before != (0.0,):
        return plain(move.name), f"{count(int(move.before[0]), 'scale')} {_ARROW} {int(move.after[0])}"
    else:
        what = f"{_figures(move.before)} {_ARROW} {_figures(move.after)}"
    sign = "" if move.of == "range" else "+" if move.after > move.before else "-"
    by = "" if isinf(move.by) else f" ({sign}{100 * move.by:.3g} %)"
    zeros = f", zero point {move.zeros[0]} {_ARROW} {move.zeros[1]}" if move.zeros else ""
    return plain(move.name), what + by + zeros


def _figures(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _weight(change: WeightChange) -> tuple[str, str]:
    if not change.before or not change.after:
        return plain(change.weight), f"now {change.after}" if change.after else f"no longer {change.before}"
    return plain(change.weight), f"{change.before} {_ARROW} {change.after}"


def _size(side: Side) -> str:
    return f"{mebibytes(side.size or 0)}{' (predicted)' if side.foreseen else ''}"


def _share_of(before: int, after: int) -> str:
    moved = 100 * (after - before) / before
    digits = ".0f" if abs(moved) >= 100 else ".2g"
    return f" ({moved:+{digits}} %)" if before != after else ""


def _integers(side: Side) -> str:
    return percent(side.integer_macs, side.macs) if side.macs and side.integer_macs is not None else ""


def _code(text: str) -> str:
    """A name as Markdown code, whatever it holds."""
    shown = plain(text).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in _runs(shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}" if shown else ""


def _runs(text: str) -> Iterator[str]:
    run = ""
    for character in text:
        if character == "`":
            run += character
        elif run:
            yield run
            run = ""
    if run:
        yield run


def _escaped(text: str) -> str:
    """Words as Markdown takes them literally; no name in them becomes a tag, a link or a mention."""
    shown = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*_[]|~#!":
        shown = shown.replace(character, f"\\{character}")
    return shown.replace("@", "&#64;")
