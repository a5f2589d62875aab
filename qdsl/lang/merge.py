"""`extends`: a recipe and its bases become one list of statements. Names are looked up only after this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qdsl.diag import Span
from qdsl.lang import syntax
from qdsl.lang.scope import Scope
from qdsl.lang.values import twice
from qdsl.lang.vocabulary import FORMS

_ONCE = (syntax.Mode, syntax.Profile, syntax.Corrupt, syntax.Measure, syntax.Sensitivity, syntax.Minimize)
_ADDING = (syntax.Layers, syntax.Keep, syntax.Place, syntax.Allow, syntax.Passes)


def key(statement: syntax.Statement) -> tuple[str, ...] | None:
    """What makes two statements the same one: their word and name; None for those that add up."""
    if isinstance(statement, _ADDING):
        return None
    word = WORDS[type(statement)]
    if isinstance(statement, syntax.Input):
        return (word, statement.name.value if statement.name else "")
    if isinstance(statement, syntax.Evaluate):
        return (word, statement.task.name, statement.data.name)
    if isinstance(statement, syntax.Param | syntax.Data | syntax.Select | syntax.Target):
        return (word, statement.name.name)
    return (word,)


WORDS: dict[type[Any], str] = {
    syntax.RecipeName: "recipe",
    syntax.Extends: "extends",
    syntax.Param: "param",
    syntax.Model: "model",
    syntax.Input: "input",
    syntax.Data: "data",
    syntax.Select: "select",
    syntax.Mode: "quantize",
    syntax.Allocate: "allocate",
    syntax.Improve: "improve",
    syntax.Train: "train",
    syntax.Tune: "tune",
    syntax.Target: "target",
    syntax.Evaluate: "evaluate",
}


def merge(files: Sequence[syntax.File], scope: Scope) -> list[syntax.Statement]:
    """One list of statements, from the base-most file to the recipe; what stands twice in one file is reported."""
    merged: list[syntax.Statement] = []
    where: dict[tuple[str, ...], int] = {}
    for file in files:
        seen: dict[tuple[str, ...], Span] = {}
        for statement in file.statements:
            name = key(statement)
            if name is not None and name in seen:
                twice(scope, f"`{' '.join(name).strip()[:80]}`", statement.span, seen[name])
                continue
            within(statement, scope)
            if name is None or name not in where:
                where.update({} if name is None else {name: len(merged)})
                merged.append(statement)
            else:
                merged[where[name]] = overlay(merged[where[name]], statement, scope)
            seen.update({} if name is None else {name: statement.span})
    return merged


def overlay(base: Any, later: Any, scope: Scope) -> Any:
    """The base statement with what the later one writes; a new mode, method or `from` starts over."""
    body = _merged_body(base.body, later.body, scope) if hasattr(later, "body") else ()
    if isinstance(later, syntax.Data):
        return _data(base, later, body, scope)
    if isinstance(later, syntax.Mode):
        return later if base.kind != later.kind else syntax.Mode(later.span, later.kind, body)
    if isinstance(later, syntax.Train):
        if base.method != later.method:
            return later
        return syntax.Train(later.span, later.method, later.data or base.data, body)
    if isinstance(later, syntax.Tune):
        if base.goal != later.goal:
            return later
        return syntax.Tune(later.span, later.goal, later.data or base.data, body)
    if isinstance(later, syntax.Allocate):
        if base.what != later.what:
            return later
        return syntax.Allocate(later.span, later.what, later.choices or base.choices, body)
    if isinstance(later, syntax.Param):
        return syntax.Param(later.span, later.name, later.value, later.choices or base.choices)
    if isinstance(later, syntax.Input | syntax.Improve | syntax.Target | syntax.Evaluate):
        kind: Any = type(later)
        return kind(later.span, *(later.__dict__[name] for name in later._fields if name != "body"), body)
    return later


def _data(base: syntax.Data, later: syntax.Data, body: Any, scope: Scope) -> syntax.Data:
    if later.source is None:
        return syntax.Data(later.span, later.name, base.source, base.location, body)
    same = base.source == later.source and base.location == later.location and base.location is not None
    if same and later.location is not None and base.location is not None:
        files = (base.location.span.file, later.location.span.file)
        same = scope.directories[files[0]] == scope.directories[files[1]]  # equal words elsewhere are another place
    return syntax.Data(later.span, later.name, later.source, later.location, body) if same else later


def _merged_body(base: Sequence[Any], later: Sequence[Any], scope: Scope) -> tuple[Any, ...]:
    """Items of two blocks: the same setting, mode, profile or budget takes the later's words at the base's place."""
    items: list[Any] = list(base)
    places: dict[tuple[str, ...], list[int]] = {}
    for index, old in enumerate(items):
        name = _item_key(old)
        if name is not None:
            places.setdefault(name, []).append(index)
    for item in later:
        taken = places.pop(_item_key(item) or (), None)
        if taken is None:
            items.append(item)
            continue
        old = items[taken[0]]
        items[taken[0]] = overlay(old, item, scope) if isinstance(item, syntax.Mode) else item
        for extra in taken[1:]:
            items[extra] = None
    return tuple(item for item in items if item is not None)


def _item_key(item: Any) -> tuple[str, ...] | None:
    if isinstance(item, syntax.Setting):
        return ("setting", item.word.name)
    if isinstance(item, syntax.Require):
        return ("require", *_metric_key(item.what))
    if isinstance(item, _ONCE):
        return (type(item).__name__,)
    return None


def _metric_key(what: syntax.Bound | syntax.Metric) -> tuple[str, ...]:
    metric = what if isinstance(what, syntax.Metric) else what.metric
    words = [q.name if isinstance(q, syntax.Word) else f'"{q.value}"' for q in metric.qualifiers]
    form = words.pop() if words and words[-1] in FORMS else ""
    return (metric.name.name, *words, form)


def within(statement: Any, scope: Scope) -> None:
    """Report what stands twice in the block of a target, `evaluate`, `tune` or `allocate` (settings: see
    `values.table`)."""
    if not isinstance(statement, syntax.Target | syntax.Evaluate | syntax.Tune | syntax.Allocate):
        return
    seen: dict[tuple[str, ...], Span] = {}
    for item in statement.body:
        name = _item_key(item)
        if name is None or isinstance(item, syntax.Setting):
            continue
        if name in seen:
            word = "quantize" if name[0] == "Mode" else " ".join(name).strip().lower()
            twice(scope, f"`{word[:80]}`", item.span, seen[name])
        seen[name] = item.span
