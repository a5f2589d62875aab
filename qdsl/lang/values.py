"""Settings against the table: what follows a word, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from qdsl.diag import Span, nearest
from qdsl.lang import syntax
from qdsl.lang.examples import line
from qdsl.lang.expect import told
from qdsl.lang.foreign import cure_within
from qdsl.lang.scope import Scope, shown
from qdsl.lang.units import unit_known
from qdsl.lang.vocabulary import NESTED, SCHEME_WORDS, Row, rows

MOST_SEVERE = 5
Plain = int | float | str
Piece = tuple[str, ...]  # alternatives: lower-case words stand for themselves


class Shape(NamedTuple):
    """The `takes` of a row, read: pieces in order, then optional groups in any order."""

    pieces: tuple[Piece, ...]
    options: tuple[tuple[Piece, ...], ...]
    repeats: bool


class Misfit(NamedTuple):
    """Where values stop fitting: the index, and what could stand there (nothing: one value too many)."""

    at: int
    expected: tuple[str, ...]


@cache
def shape(takes: str) -> Shape:
    """`N [seed I]` -> pieces, options, repeats."""
    repeats = takes.endswith("..")
    body, *options = takes.removesuffix("..").replace("]", "").split("[")
    cut = tuple(tuple(tuple(word.split("|")) for word in option.split()) for option in options)
    return Shape(tuple(tuple(word.split("|")) for word in body.split()), cut, repeats)


def table(block: str, settings: Sequence[syntax.Setting], scope: Scope) -> list[tuple[syntax.Setting, tuple[Row, ...]]]:
    """Each setting of a block with its rows. Unknown words and words that stand twice are reported and left out."""
    known = rows(block)
    found: list[tuple[syntax.Setting, tuple[Row, ...]]] = []
    seen: dict[str, Span] = {}
    for setting in settings:
        word = setting.word
        if word.name not in known:
            scope.unknown_setting(block, word, (*known, *NESTED.get(block, ())))
            continue
        if word.name in seen and not known[word.name][0].repeats:
            twice(scope, f"`{word.name}`", word.span, seen[word.name])
            continue
        seen[word.name] = word.span
        found.append((setting, known[word.name]))
    return found


def twice(scope: Scope, what: str, span: Span, first: Span) -> None:
    """The same thing said twice in one file."""
    scope.error("defined-twice", f"{what} stands twice", span, f"first at line {first.line}", ("keep one of them",))


def fit(setting: syntax.Setting, forms: Sequence[Row], scope: Scope) -> tuple[tuple[Plain, ...], ...] | None:
    """The values of a setting, one tuple per comma group; None, with an error, when they fit no form."""
    groups = []
    for group in setting.groups:
        values = scope.values(group)
        if values is None:
            return None
        groups.append(values)
    worst: tuple[list[syntax.Value], Misfit] | None = None
    for row in forms:
        fitted, problem = _fit_groups(groups, shape(row.takes))
        if problem is None:
            return fitted
        if worst is None or (problem[1].at, bool(problem[1].expected)) > (worst[1].at, bool(worst[1].expected)):
            worst = problem
    if worst is not None:
        misfit(setting.word, worst[0], worst[1], forms[0].block, scope)
    return None


def _fit_groups(
    groups: list[list[syntax.Value]], wanted: Shape
) -> tuple[tuple[tuple[Plain, ...], ...], tuple[list[syntax.Value], Misfit] | None]:
    fitted = []
    for index, group in enumerate(groups):
        if index and not wanted.repeats:
            return (), (group, Misfit(0, ()))
        out = _fit_group(group, wanted)
        if isinstance(out, Misfit):
            return (), (group, out)
        fitted.append(out)
    return tuple(fitted), None


def _fit_group(values: list[syntax.Value], wanted: Shape) -> tuple[Plain, ...] | Misfit:
    out: list[Plain] = []
    position = _run(values, 0, wanted.pieces, out)
    if isinstance(position, Misfit):
        return position
    left = list(wanted.options)
    while position < len(values):
        option = next((o for o in left if _plain(values[position], o[0]) is not None), None)
        if option is None:
            return Misfit(position, tuple(word for o in left for word in o[0]))
        left.remove(option)
        position = _run(values, position, option, out)
        if isinstance(position, Misfit):
            return position
    return tuple(out)


def _run(values: list[syntax.Value], position: int, pieces: tuple[Piece, ...], out: list[Plain]) -> int | Misfit:
    for piece in pieces:
        got = _plain(values[position], piece) if position < len(values) else None
        if got is None:
            return Misfit(position, piece)
        out += got
        position += 1
    return position


def _plain(value: syntax.Value, piece: Piece) -> tuple[Plain, ...] | None:
    """What a value says when it is one of the piece's alternatives."""
    for kind in piece:
        if not kind.isupper():
            if isinstance(value, syntax.Word) and value.name == kind:
                return (kind,)
            continue
        got = _KINDS[kind][1](value)
        if got is not None:
            return got
    return None


def number(value: syntax.Value) -> int | float | None:
    """A number or fraction without a unit."""
    if isinstance(value, syntax.Fraction):
        return value.above / value.below
    return value.value if isinstance(value, syntax.Number) and value.unit is None else None


def whole(value: syntax.Value, least: int) -> int | None:
    """A whole number without a unit, not less than `least` and at most 2**40."""
    got = number(value) if isinstance(value, syntax.Number) else None
    return got if isinstance(got, int) and least <= got <= 1 << 40 else None


def _one(got: Plain | None) -> tuple[Plain, ...] | None:
    return None if got is None else (got,)


def _side(value: syntax.Value) -> tuple[Plain, ...] | None:
    if isinstance(value, syntax.ListOf):
        sides = [whole(item, 1) for item in value.items]
        return (sides[0], sides[1]) if len(sides) == 2 and sides[0] and sides[1] else None
    side = whole(value, 1)
    return None if side is None else (side, side)


def _many(value: syntax.Value, read: Callable[[syntax.Value], Plain | None]) -> tuple[Plain, ...] | None:
    if not isinstance(value, syntax.ListOf) or not value.items:
        return None
    got = [read(item) for item in value.items]
    return None if any(one is None for one in got) else tuple(one for one in got if one is not None)


def _level(value: syntax.Value) -> int | None:
    got = whole(value, 1)
    return got if got is not None and got <= MOST_SEVERE else None


def _text(value: syntax.Value) -> str | None:
    return value.value if isinstance(value, syntax.Text) else None


def _word(value: syntax.Value) -> str | None:
    return value.name if isinstance(value, syntax.Word) else None


def _percent(value: syntax.Value) -> float | None:
    return value.value / 100 if isinstance(value, syntax.Number) and value.unit == "%" else None


_KINDS: dict[str, tuple[str, Callable[[syntax.Value], tuple[Plain, ...] | None]]] = {
    "N": ("a whole number from 1", lambda v: _one(whole(v, 1))),
    "I": ("a whole number", lambda v: _one(whole(v, 0))),
    "F": ("a number", lambda v: _one(number(v))),
    "PCT": ("a number with `%`", lambda v: _one(_percent(v))),
    "S": ('a text in "quotes"', lambda v: _one(_text(v))),
    "W": ("a word", lambda v: _one(_word(v))),
    "WS": ("a word or text", lambda v: _one(_word(v) or _text(v))),
    "D": ("the name of a dataset", lambda v: _one(_word(v))),
    "HW": ("a size: a side or [height, width]", _side),
    "FS": ("a list of numbers", lambda v: _many(v, number)),
    "NS": ("a list of whole numbers from 1", lambda v: _many(v, lambda item: whole(item, 1))),
    "IS": ("a list of whole numbers", lambda v: _many(v, lambda item: whole(item, 0))),
    "L": ("a level from 1 to 5", lambda v: _one(_level(v))),
    "LS": ("a list of levels from 1 to 5", lambda v: _many(v, _level)),
    "SS": ("a list of texts", lambda v: _many(v, _text)),
}


_TOLD = {kind: told for kind, (told, _) in _KINDS.items()} | {
    "TYPE": "a type such as `int8`, or a width such as `8 bit`",
    "METHOD": "a method such as `minmax`",
}


def misfit(word: syntax.Word, values: Sequence[syntax.Value], problem: Misfit, block: str, scope: Scope) -> None:
    """Say why the values of a setting do not fit."""
    words = [_TOLD[k] if k.isupper() else f"`{k}`" for k in problem.expected]
    wanted = told(words, "or") if words else ""
    if problem.at >= len(values):
        end = values[-1].span if values else word.span
        label = f"expected {wanted} after this"
        scope.error("setting-value", f"`{word.name}` says too little", end, label, _usual(word, block))
        return
    value = values[problem.at]
    if isinstance(value, syntax.Number) and not unit_known(value, scope):
        return
    literals = [k for k in problem.expected if not k.isupper()]
    said = shown(value).strip('"')
    near = nearest(said, literals) if isinstance(value, syntax.Word | syntax.Text) else ()
    foreign = cure_within("scheme" if set(problem.expected) == set(SCHEME_WORDS) else word.name, said)
    if isinstance(value, syntax.Word) and value.name in rows(block):
        cures = (f"write `;` before `{value.name}`",)
        scope.error("two-settings", "two settings on one line need `;`", value.span, "a setting of its own", cures)
    elif not problem.expected or (not near and not foreign and problem.at and set(problem.expected) == set(literals)):
        label = f"expected {wanted} or the end of `{word.name}`" if wanted else f"`{word.name}` is complete before this"
        listed = any(row.takes.endswith("..") for row in rows(block).get(word.name, ()))
        several = listed and isinstance(value, syntax.Word)
        cures = ("several stand with commas between",) if several else ("two settings on one line need `;`",)
        scope.error("two-settings", f"`{word.name}` takes no `{_short(value)}` here", value.span, label, cures)
    else:
        known = [foreign] if foreign else [f"did you mean `{near[0]}`?"] if near else []
        if "S" in problem.expected and isinstance(value, syntax.Word | syntax.Number):
            known = [f'write it in quotes: "{_short(value)}"']
        headline = f"`{word.name}` cannot be `{_short(value)}`"
        scope.error("setting-value", headline, value.span, f"expected {wanted}", known or _usual(word, block))


def _usual(word: syntax.Word, block: str) -> list[str]:
    """The setting as people write it."""
    found = rows(block).get(word.name, ())
    return [f"such as `{line(found[0])}`"] if found else []


def _short(value: syntax.Value) -> str:
    text = shown(value)
    return text if len(text) <= 40 else text[:37] + "..."
