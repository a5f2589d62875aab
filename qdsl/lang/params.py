"""`param` statements and `--set`: what each `$x` stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdsl.diag import Span
from qdsl.lang import syntax
from qdsl.lang.expect import told
from qdsl.lang.parse import parse
from qdsl.lang.scope import Scope, shown

_LONGEST = 80


def params(found: Sequence[syntax.Param], sets: Mapping[str, str], scope: Scope) -> tuple[tuple[str, str], ...]:
    """Fill the scope's parameters; returns (name, value as written) in the order of the recipe."""
    for name in sorted(set(sets) - {param.name.name for param in found}):
        scope.unknown("param", name, None, [param.name.name for param in found], f"in `{_option(name, sets[name])}`")
    for param in found:
        value = _value(param, sets.get(param.name.name), scope)
        if value is not None:
            scope.params[param.name.name] = value
    known = [param.name.name for param in found if param.name.name in scope.params]
    return tuple((name, shown(scope.params[name])) for name in known)


def choices(found: Sequence[syntax.Param]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(name, values as written) of the parameters that say which values they may have."""
    return tuple((p.name.name, tuple(shown(item) for item in p.choices.items)) for p in found if p.choices is not None)


def _value(param: syntax.Param, given: str | None, scope: Scope) -> syntax.Value | None:
    """The value in force: the given one or the default, which has to be one of the list where there is one.

    After an error still a value, so that its uses are checked; None when there is none to use.
    """
    for value in (param.value, *(param.choices.items if param.choices else ())):
        if _uses(value):
            scope.error("setting-value", "the value of a parameter is plain", value.span, "expected no parameter in it")
            return None
    if not _chosen(param, param.value, param.value.span, scope) or given is None:
        return param.value
    read = read_value(given, param)
    if read is None:
        label = 'expected a value, such as `int4`, `0.5`, `percentile 99.99` or `"text"`'
        scope.error("setting-value", f"`{_option(param.name.name, given)}` gives no value", param.span, label)
        return param.value
    return read if _chosen(param, read, param.span, scope, given) else param.value


def _uses(value: syntax.Value) -> bool:
    if isinstance(value, syntax.ListOf | syntax.Several):
        return any(_uses(item) for item in value.items)
    return isinstance(value, syntax.UseParam)


def _option(name: str, value: str) -> str:
    """What stood on the command line, cut when long."""
    text = f"--set {name}={value}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _chosen(param: syntax.Param, value: syntax.Value, span: Span, scope: Scope, given: str | None = None) -> bool:
    if param.choices is None or value in param.choices.items:
        return True
    known = told([f"`{shown(item)}`" for item in param.choices.items], "or") if param.choices.items else "nothing"
    by = "" if given is None else f", as `{_option(param.name.name, given)}` asks"
    headline = f"`{param.name.name}` cannot be `{shown(value)[:60]}`{by}"
    scope.error("param-choice", headline, span, f"expected {known}")
    return False


def read_value(text: str, param: syntax.Param) -> syntax.Value | None:
    """A value given on the command line. Where the recipe's own value is a text, quotes may be left out."""
    found = parse(f"param given = {text}", "--set") if "\n" not in text and len(text) < 1000 else None
    if found is not None and not found.diagnostics and len(found.tree.statements) == 1:
        statement = found.tree.statements[0]
        if isinstance(statement, syntax.Param) and statement.choices is None and not _uses(statement.value):
            worded = isinstance(statement.value, syntax.Word) and isinstance(param.value, syntax.Text)
            return syntax.Text(param.span, text.strip()) if worded else statement.value
    return syntax.Text(param.span, text) if isinstance(param.value, syntax.Text) else None
