"""What was seen of an engine that is built of the file: how many nodes compute in what, and what not to conclude."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from qdsl.auditing.report import NodeFacts
from qdsl.spec.engine import BUILD, BUILT, PARSE, UNDECIDED, VERDICTS, EngineSeen
from qdsl.spec.words import count, plain

_LABEL = 10
_WIDE = 100
_ENDED = {
    PARSE: "the parser refuses the file: no engine is built",
    BUILD: "the parser takes the file, the builder builds no engine",
    BUILT: "an engine is built; no node of the file multiplies",
    UNDECIDED: "undecided",
}


def told(seen: EngineSeen, nodes: Sequence[NodeFacts]) -> Iterator[str]:
    """`engine     TensorRT-RTX .., sm86, ..`, then `63 of 64 Conv INT8, 1 DROPPED`, then the notes."""
    yield f"{'engine':<{_LABEL}} {plain(seen.source)}"
    if seen.verdicts:
        yield from (_row(line) for line in _counted(seen, {node.name: node.op for node in nodes}))
    else:
        yield _row(f"{_ENDED[seen.stage]}{f': {plain(seen.reason)}' if seen.reason else ''}")
    if seen.standalone:
        yield _row(f"{count(len(seen.standalone), 'Q, DQ or conversion', 'Q, DQ and conversions')} alone in a layer")
    for note in seen.notes if seen.stage != UNDECIDED else ():
        first, *more = wrap(f"note: {plain(note)}", _WIDE)
        yield _row(first)
        yield from (_row(f"      {each}") for each in more)


def _row(text: str) -> str:
    return f"{'':<{_LABEL}} {text}"


def _counted(seen: EngineSeen, ops: dict[str, str]) -> Iterator[str]:
    """A line per operator, in the order in which the file has them."""
    found: dict[str, Counter[str]] = {}
    for name, each in seen.verdicts.items():
        found.setdefault(ops.get(name, "nodes"), Counter())[each.verdict] += 1
    for op, counts in found.items():
        first, *others = sorted(counts, key=VERDICTS.index)
        rest = "".join(f", {counts[each]} {each}" for each in others)
        yield f"{counts[first]} of {counts.total()} {plain(op)} {first}{rest}"


def to_data(seen: EngineSeen) -> dict[str, Any]:
    """The same as data, all of it."""
    return {
        "source": seen.source,
        "stage": seen.stage,
        "reason": seen.reason or None,
        "nodes": {
            name: {
                "verdict": each.verdict,
                "layer": each.layer or None,
                "because": each.because,
                "share": each.share,
                "holds_elsewhere": each.holds_elsewhere,
            }
            for name, each in seen.verdicts.items()
        },
        "refused": [{"node": each.node or None, "text": each.text, "by": each.function} for each in seen.refused],
        "standalone": list(seen.standalone),
        "warnings": list(seen.warnings),
        "notes": list(seen.notes),
    }
