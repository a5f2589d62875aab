"""Words that findings share: names on one line, and recipe lines that name nodes and tensors."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.auditing.finding import Fix
from qdsl.lang.quoting import names
from qdsl.spec.words import plain

_WIDEST = 80
_SHOWN = 3


def shown(name: str) -> str:
    """A name of a file in the middle of a sentence: `/model.0/conv/Conv`."""
    return f"`{plain(name)[:_WIDEST]}`"


def listed(found: Sequence[str]) -> str:
    """The first of several names, and how many more there are."""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(map(shown, found[:_SHOWN])) + more


def recipe_lines(line: str, *found: str) -> Fix | None:
    """`line` with {} where `found` stand as a selector. None where no recipe can hold these names."""
    quoted = names(found)
    return None if quoted is None else Fix(lines=(line.replace("{}", quoted, 1),))
