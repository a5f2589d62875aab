"""lark's tree -> the syntax tree."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from qdsl.diag import Span
from qdsl.lang import syntax
from qdsl.lang.tokens import Faults, Tok

_ESCAPES = {"\\": "\\", '"': '"', "n": "\n", "t": "\t"}


def build(tree: Any, faults: Faults) -> Any:
    """The node for a lark tree of one statement. Nesting is bounded by the lexer, so recursion is, too."""
    children = [build(child, faults) if hasattr(child, "data") else child for child in tree.children]
    rule = str(tree.data)
    if rule in _LISTS:
        return tuple(child for child in children if child is not None)
    if rule == "text":
        return _text(tree, children[0], faults)
    return _MAKE[rule](_span(tree, faults.file), children)


def _span(tree: Any, file: str) -> Span:
    meta = tree.meta
    return Span(file, meta.line, meta.column, meta.end_line, meta.end_column)


def _text(tree: Any, token: Any, faults: Faults) -> syntax.Text:
    inner = str(token)[1:-1]
    for found in re.finditer(r"\\(.)", inner):
        if found.group(1) not in _ESCAPES:
            at = Tok("STRING", found.group(), token.line, token.column + 1 + found.start())
            cures = ("write `\\\\` for a backslash; paths work with `/` everywhere",)
            faults.add("bad-escape", f"`{found.group()}` is no escape", at, 'known: \\\\ \\" \\n \\t', cures)
    value = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found.group(1), found.group()), inner)
    return syntax.Text(_span(tree, faults.file), value)


def _number(span: Span, children: list[Any]) -> syntax.Number:
    text, unit = str(children[0]), children[1]
    return syntax.Number(span, _plain_number(text), str(unit) if unit is not None else None)


def _fraction(span: Span, children: list[Any]) -> syntax.Fraction:
    above, below = str(children[0]).split("/")
    return syntax.Fraction(span, _plain_number(above), _plain_number(below))


def _plain_number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else float(text)


def _several(span: Span, children: list[Any]) -> Any:
    return children[0] if len(children) == 1 else syntax.Several(span, tuple(children))


def _list(span: Span, children: list[Any]) -> syntax.ListOf:
    return syntax.ListOf(span, tuple(child for child in children if child is not None))


def _picks(span: Span, children: list[Any]) -> syntax.Picks:
    return syntax.Picks(span, tuple(children[:-1]), children[-1])


def _metrics(children: list[Any]) -> tuple[syntax.Metric, ...]:
    return tuple(child for child in children if isinstance(child, syntax.Metric))


def _placing(action: str) -> Callable[[Span, list[Any]], syntax.Placing]:
    return lambda span, children: syntax.Placing(span, action, children[0])


def _plain(kind: Callable[..., Any]) -> Callable[[Span, list[Any]], Any]:
    return lambda span, children: kind(span, *children)


def _gathered(kind: Callable[..., Any]) -> Callable[[Span, list[Any]], Any]:
    return lambda span, children: kind(span, tuple(children))


def _with_body(kind: Callable[..., Any]) -> Callable[[Span, list[Any]], Any]:
    """The last child is a block that may be missing."""
    return lambda span, children: kind(span, *children[:-1], children[-1] or ())


_LISTS = frozenset({"settings", "words", "goals", "target_body", "evaluate_body", "tune_body", "op_names", "patterns"})

_MAKE: dict[str, Callable[[Span, list[Any]], Any]] = {
    "word": lambda span, children: syntax.Word(span, str(children[0])),
    "number": _number,
    "fraction": _fraction,
    "param_use": lambda span, children: syntax.UseParam(span, str(children[0])[1:]),
    "list": _list,
    "several": _several,
    "choices": _list,
    "setting": lambda span, children: syntax.Setting(span, children[0], tuple(children[1:])),
    "expect": lambda span, children: children[0],
    "picks": _picks,
    "nth": lambda span, children: syntax.Nth(span, str(children[0]), children[1], children[2]),
    "any_of": _gathered(syntax.AnyOf),
    "all_of": _gathered(syntax.AllOf),
    "negate": _plain(syntax.Not),
    "op": _plain(syntax.Op),
    "named_nodes": _plain(syntax.NamedNodes),
    "matching": _plain(syntax.Matching),
    "under": _plain(syntax.Under),
    "tensor": _plain(syntax.Tensor),
    "between": _plain(syntax.Between),
    "condition": lambda span, children: syntax.Condition(span, children[0], str(children[1]), children[2]),
    "named": _plain(syntax.Named),
    "nested": _plain(syntax.Nested),
    "recipe": _plain(syntax.RecipeName),
    "extends": _plain(syntax.Extends),
    "param": _plain(syntax.Param),
    "model": _plain(syntax.Model),
    "input": _with_body(syntax.Input),
    "data": _with_body(syntax.Data),
    "select": _plain(syntax.Select),
    "mode": _with_body(syntax.Mode),
    "layers": _with_body(syntax.Layers),
    "keep": _plain(syntax.Keep),
    "place": _gathered(syntax.Place),
    "put": _placing("quantize"),
    "leave": _placing("leave"),
    "share": _placing("share"),
    "port": _plain(syntax.Port),
    "edge": _plain(syntax.Edge),
    "allocate": _with_body(syntax.Allocate),
    "sensitivity": _with_body(syntax.Sensitivity),
    "minimize": lambda span, children: syntax.Minimize(span, children[0], tuple(children[1:])),
    "limit": _plain(syntax.Limit),
    "pin": _plain(syntax.Pin),
    "group": _plain(syntax.GroupGoal),
    "improve": _with_body(syntax.Improve),
    "train": _with_body(syntax.Train),
    "tune": _with_body(syntax.Tune),
    "target": _with_body(syntax.Target),
    "evaluate": _with_body(syntax.Evaluate),
    "measure": lambda span, children: syntax.Measure(span, _metrics(children)),
    "profile": lambda span, children: syntax.Profile(span, _metrics(children), children[-1] or ()),
    "corrupt": lambda span, children: syntax.Corrupt(span, children[-1] or ()),
    "require": _plain(syntax.Require),
    "bound": lambda span, children: syntax.Bound(span, children[0], str(children[1]), children[2]),
    "metric": lambda span, children: syntax.Metric(span, children[0], tuple(children[1:])),
    "passes": _gathered(syntax.Passes),
    "use": lambda span, children: syntax.Use(span, children[0], str(children[1]), children[2]),
    "allow": _plain(syntax.Allow),
}
