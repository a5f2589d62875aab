"""`qdsl plan --compare`: the placements of several targets as text, as Markdown and as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qdsl.describe.placements import FLOAT32, NodePlacement, Placed, Placements
from qdsl.spec.words import NAME_WIDEST, count, plain, shortened


def as_text(found: Placements, *, narrow: bool = False) -> str:
    """A block for each node with which targets do different things; then why rows of their tables are as they are."""
    wide = max(map(len, found.targets), default=0)
    lines = []
    for node in found.different:
        name = plain(node.node)
        lines.append(f"{shortened(name, NAME_WIDEST) if narrow else name}   {plain(node.op)}")
        for target, placed in node.placed.items():
            lines.append(f"  {target:<{wide}}   {plain(told(placed))}   [{plain(reason(placed))}]")
    lines += [_alike(found), *(f"{name}: {plain(because)}" for name, because in _rows(found))]
    return "\n".join(lines) + "\n"


def as_markdown(found: Placements) -> str:
    """One table of all nodes with which targets do different things, and one of the reasons."""
    head = ["node", *found.targets, *(f"why {target}" for target in found.targets)]
    lines = [_row(head), _row(["---"] * len(head))]
    for node in found.different:
        cells = [*map(told, node.placed.values()), *map(reason, node.placed.values())]
        lines.append(_row([f"{_cell(node.node)} ({_cell(node.op)})", *map(_cell, cells)]))
    rows = [_row([_cell(name), _cell(because)]) for name, because in _rows(found)]
    return "\n".join([*lines, "", _alike(found), "", _row(["row", "because"]), _row(["---", "---"]), *rows]) + "\n"


def as_data(found: Placements) -> dict[str, Any]:
    """All nodes, whether targets differ on them or not."""
    return {
        "recipe": found.recipe,
        "targets": list(found.targets),
        "nodes": [_node(node) for node in found.nodes],
        "rows": {target: dict(rows) for target, rows in found.rows.items()},
    }


def told(placed: Placed) -> str:
    """`int8 per_channel weights, int8 in, int8 out behind Add and Relu, float32 bias`; what a node does that reads and
    writes floats is the type alone."""
    weights = [f"{placed.weights} weights"] if placed.weights else []
    bias = [f"{placed.bias} bias"] if placed.bias and placed.runs == "integer" else []
    parts = [*weights, *_reads(placed), *_writes(placed), *bias]
    return f"{_runs(placed)}{': ' if parts else ''}{', '.join(parts)}"


def reason(placed: Placed) -> str:
    """The line of the recipe or the row that decided; where the prediction says more than the row, that, too."""
    return f"{placed.origin}; row {placed.row}" if placed.row and placed.row not in placed.origin else placed.origin


def _runs(placed: Placed) -> str:
    if placed.runs == "integer":
        return placed.kernel
    if placed.runs == "absorbed":
        return f"inside {placed.kernel}"
    return "float" if placed.runs == "float" else placed.runs


def _reads(placed: Placed) -> Iterator[str]:
    if not placed.pairs:
        return
    if len({(read.type, read.skip) for read in placed.reads}) == 1:
        yield f"{placed.reads[0].type} in"
        return
    for read in placed.reads:
        yield f"{read.type} {'skip' if read.skip else f'at port {read.port}'}"


def _writes(placed: Placed) -> Iterator[str]:
    behind = placed.behind
    if not (placed.weights or placed.pairs) or placed.runs == "absorbed":
        return
    past = f" behind {' and '.join(behind.past)}" if behind.past else ""
    if behind.type:
        yield f"{behind.type} out{past}"
    elif behind.floats:
        yield f"{FLOAT32} out ({behind.floats})"


def _alike(found: Placements) -> str:
    alike = len(found.nodes) - len(found.different)
    return f"{count(len(found.different), 'node')} differ between {' and '.join(found.targets)}, {alike} are alike"


def _rows(found: Placements) -> Iterator[tuple[str, str]]:
    for target, rows in found.rows.items():
        used = {each.placed[target].row for each in found.different}
        yield from ((f"{target}, row {name}", because) for name, because in rows.items() if name in used)


def _node(node: NodePlacement) -> dict[str, Any]:
    return {
        "node": node.node,
        "op": node.op,
        "alike": node.alike,
        "placed": {target: _placed(each) for target, each in node.placed.items()},
    }


def _placed(each: Placed) -> dict[str, Any]:
    return {
        "runs": each.runs,
        "kernel": each.kernel,
        "weights": each.weights,
        "bias": each.bias,
        "reads": [{"port": read.port, "type": read.type, "skip": read.skip} for read in each.reads],
        "writes": {"type": each.behind.type, "past": list(each.behind.past), "floats": each.behind.floats},
        "because": each.because,
        "row": each.row,
        "origin": each.origin,
    }


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """A name of an untrusted file cannot end the cell, nor hold markup."""
    safe = "".join(f"\\{letter}" if letter in "\\`*_{}[]<>()#+!|~&" else letter for letter in plain(text))
    return " ".join(safe.split())
