"""Selectors of the syntax tree -> `qdsl.lang.selectors`: names looked up, counts and patterns read."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.diag import Span
from qdsl.lang import selectors, syntax
from qdsl.lang.recipe import Edge, Port
from qdsl.lang.regex import RegexError, UnsupportedError, require_usable
from qdsl.lang.scope import Scope, quoted, shown
from qdsl.lang.selectors import CONDITIONS, PREDICATES
from qdsl.lang.values import number, whole
from qdsl.lang.vocabulary import CONDITION_LISTS, PORTS

_DEEPEST = 32
_LARGEST = 2000  # selector pieces behind one name, all `select`s written out


class Picker:
    """Resolves selectors of one recipe. `selects` are its `select` statements by name."""

    def __init__(self, scope: Scope, selects: dict[str, syntax.Select]) -> None:
        self.scope = scope
        self.selects = selects
        self.done: dict[str, selectors.Picks | None] = {}
        self.sizes: dict[str, int] = {}
        self.open: list[str] = []

    def picks(self, picks: syntax.Picks) -> selectors.Picks:
        """The selectors; parts that are wrong are reported and left out."""
        parts = [self.pick(part) for part in picks.parts]
        expect = self.count(picks.expect, 0, "expect") if picks.expect else None
        span = picks.expect.span if picks.expect else None
        return selectors.Picks(tuple(p for p in parts if p is not None), expect, picks.span, span)

    def count(self, value: syntax.Value, least: int, word: str) -> int | None:
        """A whole number after `expect`, `first` or `last`."""
        got = self.scope.value(value)
        found = whole(got, least) if got is not None else None
        if got is not None and found is None:
            label = f"expected a whole number from {least}"
            self.scope.error("bad-expect", f"`{word}` cannot be `{shown(got)}`", got.span, label)
        return found

    def pick(self, pick: syntax.Pick) -> selectors.Selector | None:
        """One selector; None after an error."""
        if isinstance(pick, syntax.AnyOf | syntax.AllOf):
            parts = tuple(p for p in map(self.pick, pick.parts) if p is not None)
            kind = selectors.AnyOf if isinstance(pick, syntax.AnyOf) else selectors.AllOf
            return kind(parts, pick.span)
        if isinstance(pick, syntax.Not):
            part = self.pick(pick.part)
            return None if part is None else selectors.Not(part, pick.span)
        if isinstance(pick, syntax.Nth):
            count, of = self.count(pick.count, 1, pick.which), self.pick(pick.of)
            return None if count is None or of is None else selectors.Nth(pick.which, count, of, pick.span)
        if isinstance(pick, syntax.Between):
            start, end = self.pick(pick.start), self.pick(pick.end)
            return None if start is None or end is None else selectors.Between(start, end, pick.span)
        if isinstance(pick, syntax.Nested):
            return selectors.Group(self.picks(pick.picks), pick.span)
        return self._leaf(pick)

    def _leaf(
        self,
        pick: syntax.Op | syntax.NamedNodes | syntax.Matching | syntax.Under | syntax.Tensor | syntax.Condition
        | syntax.Named,
    ) -> selectors.Selector | None:  # fmt: skip
        if isinstance(pick, syntax.Op):
            return selectors.Op(self._words(pick.names), pick.span)
        if isinstance(pick, syntax.NamedNodes):
            return selectors.NameGlob(self._texts(pick.patterns), pick.span)
        if isinstance(pick, syntax.Under):
            return selectors.Under(self._texts(pick.scopes), pick.span)
        if isinstance(pick, syntax.Tensor):
            return selectors.TensorGlob(self._texts(pick.patterns), pick.span)
        if isinstance(pick, syntax.Matching):
            return self._matching(pick)
        if isinstance(pick, syntax.Condition):
            return self._condition(pick)
        return self._named(pick)

    def _words(self, values: Sequence[syntax.Value]) -> tuple[tuple[str, Span], ...]:
        found: list[tuple[str, Span]] = []
        for value in values:
            got = self.scope.value(value)
            for item in got.items if isinstance(got, syntax.ListOf) else (got,):
                if isinstance(item, syntax.Word):
                    found.append((item.name, value.span))
                elif item is not None:
                    self.scope.error("setting-value", f"`{shown(item)}` is not an operator", value.span)
        return tuple(found)

    def _texts(self, values: Sequence[syntax.Value]) -> tuple[tuple[str, Span], ...]:
        found: list[tuple[str, Span]] = []
        for value in values:
            got = self.scope.value(value)
            for item in got.items if isinstance(got, syntax.ListOf) else (got,):
                if isinstance(item, syntax.Text):
                    found.append((item.value, value.span))
                elif item is not None:
                    self.scope.error("setting-value", f"`{shown(item)}` is not a text", value.span)
        return tuple(found)

    def _matching(self, pick: syntax.Matching) -> selectors.Matching | None:
        texts = self._texts((pick.pattern,))
        if len(texts) != 1:
            return None
        pattern, span = texts[0]
        try:
            require_usable(pattern)
        except RegexError as fault:
            other = isinstance(fault, UnsupportedError)
            code = "selector-regex" if other else "bad-regex"
            headline = "this regular expression cannot be used" if other else "this is not a regular expression"
            place = _inside(span, pattern, fault.at) if isinstance(pick.pattern, syntax.Text) else span
            self.scope.error(code, headline, place, f"{fault} (at character {fault.at + 1})")
            return None
        return selectors.Matching(pattern, pick.span)

    def _condition(self, pick: syntax.Condition) -> selectors.Condition | None:
        field = self.scope.one_of("condition", pick.field, CONDITIONS)
        value = self.scope.value(pick.value)
        if field is None or value is None:
            return None
        if not isinstance(value, syntax.ListOf):
            one = number(value)
            if one is not None:
                return selectors.Condition(field, pick.comparison, one, pick.span)
            self.scope.error("setting-value", f"`{field}` is compared with a number", value.span, "expected a number")
            return None
        items = [number(item) for item in value.items]
        if field in CONDITION_LISTS and pick.comparison in ("==", "!=") and items and None not in items:
            listed = tuple(item for item in items if item is not None)
            return selectors.Condition(field, pick.comparison, listed, pick.span)
        cures = (f"a list of numbers goes with {' and '.join(f'`{f}`' for f in CONDITION_LISTS)}, `==` and `!=`",)
        self.scope.error("setting-value", f"`{field} {pick.comparison}` takes no such list", value.span, "", cures)
        return None

    def _named(self, pick: syntax.Named) -> selectors.Named | None:
        name = pick.word.name
        if name in PREDICATES:
            return selectors.Named(name, None, pick.span)
        if name not in self.selects:
            self._unknown(pick.word)
            return None
        definition = self.definition(name, pick.span)
        return None if definition is None else selectors.Named(name, definition, pick.span)

    def _unknown(self, word: syntax.Word) -> None:
        if word.name in CONDITIONS:
            cures = (f"such as `{word.name} < 16`",)
            self.scope.error("unknown-selector", f"`{word.name}` needs a comparison", word.span, "", cures)
        elif word.name[:1].isupper():
            cures = (f"operators follow `op`: `op {word.name[:60]}`",)
            self.scope.error("unknown-selector", f"unknown selector `{word.name[:60]}`", word.span, "", cures)
        else:
            self.scope.unknown("selector", word.name, word.span, (*PREDICATES, *self.selects), own=self.selects)

    def definition(self, name: str, span: Span) -> selectors.Picks | None:
        """What a `select` stands for; None after an error. Each is resolved once, however often it is used."""
        if name in self.open:
            path = " -> ".join((*self.open[self.open.index(name) :], name))
            self.scope.error("select-cycle", f"`{name}` is defined by itself", span, path[:160])
            return None
        if name not in self.done:
            if len(self.open) >= _DEEPEST:
                self.scope.error("nested-too-deep", f"names within names, more than {_DEEPEST} deep", span)
                return None
            self.open.append(name)
            found = self.picks(self.selects[name].picks)
            self.open.pop()
            self.sizes[name] = size = self._size(found)
            if size > _LARGEST:
                self.scope.error("nested-too-deep", f"`{name}` stands for more than {_LARGEST} selectors", span)
            self.done[name] = found if size <= _LARGEST else None
        return self.done[name]

    def _size(self, found: selectors.Picks | selectors.Selector) -> int:
        """How many pieces a selector has with every name written out."""
        if isinstance(found, selectors.Named):
            return 1 + self.sizes.get(found.name, 0)
        if isinstance(found, selectors.Group):
            return 1 + self._size(found.picks)
        if isinstance(found, selectors.Picks | selectors.AnyOf | selectors.AllOf):
            return 1 + sum(self._size(part) for part in found.parts)
        if isinstance(found, selectors.Not):
            return 1 + self._size(found.part)
        if isinstance(found, selectors.Nth):
            return 1 + self._size(found.of)
        if isinstance(found, selectors.Between):
            return 1 + self._size(found.start) + self._size(found.end)
        return 1

    def where(self, placing: syntax.Placing) -> Port | Edge | selectors.Picks | None:
        """The place of a `place` line; None after an error."""
        where = placing.where
        if isinstance(where, syntax.Port):
            name = self.scope.one_of("port", where.name, PORTS)
            return None if name is None else Port(name, self.picks(where.picks), where.span)
        if isinstance(where, syntax.Edge):
            expect = self.count(where.expect, 0, "expect") if where.expect else None
            return Edge(self._end(where.source), self._end(where.target), expect, where.span)
        found = self.picks(where)
        if placing.action != "share" and found.parts and not all(map(_tensors, found.parts)):
            cures = (f"`{placing.action} inputs of X` and `{placing.action} outputs of X` name the tensors of nodes",)
            headline = f"`{placing.action}` places Q/DQ on tensors, and these are nodes"
            self.scope.error("place-nodes", headline, where.span, "expected a tensor, a port or an edge", cures)
            return None
        return found

    def _end(self, pick: syntax.Pick) -> selectors.Picks:
        return self.picks(syntax.Picks(pick.span, (pick,), None))


def _inside(span: Span, text: str, at: int) -> Span:
    """Where character `at` of a text stands; the whole of it where it is not written in the usual way."""
    if span.line != span.end_line or span.end_column - span.column != len(quoted(text)):
        return span
    column = span.column + len(quoted(text[:at])) - 1
    return Span(span.file, span.line, column, span.line, column + 1)


def _tensors(pick: selectors.Selector) -> bool:
    """Whether a selector speaks of tensors."""
    if isinstance(pick, selectors.TensorGlob):
        return True
    if isinstance(pick, selectors.Group):
        return all(map(_tensors, pick.picks.parts))
    if isinstance(pick, selectors.Named):
        return pick.definition is not None and all(map(_tensors, pick.definition.parts))
    if isinstance(pick, selectors.AnyOf):
        return all(map(_tensors, pick.parts))
    return isinstance(pick, selectors.AllOf) and any(map(_tensors, pick.parts))
