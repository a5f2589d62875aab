"""Names in selectors: matching `*` and `?` in linear time, and the names nearest to one that matched nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from qdsl.diag import nearest
from qdsl.graph.view import GraphView

_DIGITS = re.compile(r"[0-9]{1,18}")


def glob(pattern: str) -> Callable[[str], bool]:
    """A test for whole names: `*` is any run of characters (`/` included), `?` one character, the rest is literal.

    The parts between the stars are looked for from left to right, each at its first place, which never has to be
    taken back: the time is at most pattern times name.
    """
    first, *rest = pattern.split("*")
    if not rest:
        whole = _literal(first)
        return lambda name: len(name) == len(first) and whole.match(name) is not None
    head, middle, tail = _literal(first), [_literal(p) for p in rest[:-1] if p], _literal(rest[-1])
    tail_length = len(rest[-1])

    def matches(name: str) -> bool:
        if head.match(name) is None:
            return False
        at, end = len(first), len(name) - tail_length
        for part in middle:
            found = part.search(name, at)
            if found is None:
                return False
            at = found.end()
        return at <= end and tail.match(name, end) is not None

    return matches


def _literal(text: str) -> re.Pattern[str]:
    """A pattern without repetition, hence without backtracking."""
    return re.compile("".join("." if char == "?" else re.escape(char) for char in text), re.DOTALL)


def is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def close_names(word: str, names: Iterable[str], count: int = 2) -> tuple[str, ...]:
    """The names most like `word`: first those that differ in numbers only, by how far these lie apart, then by
    letters; a word that opens with a star is compared with the ends of names."""
    known = sorted(set(names))[:20_000]
    literal = word.strip("*").replace("*", "")
    rooted = literal.startswith("/")
    ends: dict[str, str] = {}
    for name in known:
        last = name.split("/")[-(literal.count("/") + (not rooted)) :]
        ends.setdefault("/" * rooted + "/".join(last) if word.startswith("*") else name, name)
    template, numbers = _shape(literal)
    alike = []
    for end in ends:
        other, values = _shape(end)
        if other == template and values:
            alike.append((sum(abs(a - b) for a, b in zip(numbers, values, strict=True)), len(end), end))
    found = [end for _, _, end in sorted(alike)][:count]
    lower = {end.lower(): end for end in reversed(list(ends))}
    if len(found) < count and not alike:
        found += [lower[close] for close in nearest(literal.lower(), lower, count)]
    return tuple(dict.fromkeys(ends[end] for end in found))[:count]


def _shape(text: str) -> tuple[str, list[int]]:
    return _DIGITS.sub("0", text), [int(digits) for digits in _DIGITS.findall(text)]


def scope_sizes(view: GraphView) -> Counter[str]:
    """How many nodes live in each module scope or below it."""
    sizes: Counter[str] = Counter()
    for node in view.nodes:
        sizes.update(sorted(set(_with_parents(node.scopes))))
    return sizes


def _with_parents(scopes: tuple[str, ...]) -> list[str]:
    """Every scope and every path above one, in order."""
    found: list[str] = []
    for scope in scopes:
        places = [at for at, char in enumerate(scope) if char == "/" and at > 0]
        found += [scope[:at] for at in places] + [scope]
    return found


def in_scope(scopes: tuple[str, ...], wanted: str) -> bool:
    """Whether one of a node's scopes is `wanted` or lies below it."""
    return any(scope == wanted or scope.startswith(f"{wanted}/") for scope in scopes)


def listed(names: Iterable[str], most: int = 3) -> str:
    """`a`, `b`, `c` and 4 more."""
    every = list(names)
    shown = ", ".join(f"`{name}`" for name in every[:most])
    return shown if len(every) <= most else f"{shown} and {len(every) - most} more"
