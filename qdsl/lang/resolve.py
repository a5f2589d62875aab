"""Merged statements -> `Recipe`: every name looked up, every setting read, every error reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from qdsl.diag import Span
from qdsl.lang import recipe as made
from qdsl.lang import syntax
from qdsl.lang.blocks import allocate, data, evaluate, improve, input_block, train, tune
from qdsl.lang.budgets import profile, require
from qdsl.lang.merge import merge
from qdsl.lang.params import choices, params
from qdsl.lang.picking import Picker
from qdsl.lang.schemes import dtype, settings
from qdsl.lang.scope import Scope, shown
from qdsl.lang.values import fit, table
from qdsl.lang.vocabulary import FINDINGS, FORMATS, MODES, SELECTOR_WORDS, STAGES, TARGETS
from qdsl.spec import DTYPES

_SUFFIX = ".q"


def resolve(
    files: Sequence[syntax.File], scope: Scope, sets: Mapping[str, str], sources: dict[str, str]
) -> made.Recipe:
    """The recipe that `files` (base-most first) make. Errors go to the scope's diagnostics."""
    for file in files:
        _openings(file, scope)
    statements = merge(files, scope)
    resolver = _Resolver(statements, scope)
    parameters = [s for s in statements if isinstance(s, syntax.Param)]
    chosen = params(parameters, sets, scope)
    own = next((s for s in files[-1].statements if isinstance(s, syntax.RecipeName)), None)
    stem = PurePath(scope.main).stem if scope.main != "<text>" else "recipe"
    name = own.name.name if own else stem
    span = own.span if own else Span(scope.main, 1, 1, 1, 1)
    return resolver.recipe(made.Recipe(name, scope.main, sources, span, params=chosen, choices=choices(parameters)))


def _openings(file: syntax.File, scope: Scope) -> None:
    """`recipe` names its file; `extends` stands once, under it."""
    for index, statement in enumerate(file.statements):
        if isinstance(statement, syntax.RecipeName):
            path = PurePath(statement.span.file)
            if path.suffix == _SUFFIX and statement.name.name != path.stem:
                cures = (f"write `recipe {path.stem}`, or rename the file to `{statement.name.name}{_SUFFIX}`",)
                headline = f"`recipe {statement.name.name[:60]}` stands in `{path.name}`"
                scope.error("name-mismatch", headline, statement.name.span, f"expected `{path.stem}`", cures)
        elif isinstance(statement, syntax.Extends):
            before = file.statements[:index]
            if any(not isinstance(s, syntax.RecipeName | syntax.Extends) for s in before):
                headline = "`extends` stands under `recipe`, before everything else"
                scope.error("extends-misplaced", headline, statement.span, "move it up")


class _Resolver:
    def __init__(self, statements: Sequence[syntax.Statement], scope: Scope) -> None:
        self.statements = statements
        self.scope = scope
        self.selects = {s.name.name: s for s in statements if isinstance(s, syntax.Select)}
        self.picker = Picker(scope, self.selects)
        scope.data = frozenset(s.name.name for s in statements if isinstance(s, syntax.Data))

    def recipe(self, base: made.Recipe) -> made.Recipe:
        found: dict[str, list[Any]] = {}
        for statement in self.statements:
            make = _MAKE.get(type(statement))
            if make is None:
                continue
            slot, method = make
            found.setdefault(slot, []).extend(one for one in method(self, statement) if one is not None)
        ones = ("model", "mode", "allocate", "improve", "train", "tune")
        single: dict[str, Any] = {slot: (found.get(slot) or [None])[0] for slot in ones}
        many = ("inputs", "data", "rules", "selects", "targets", "evaluates", "allows", "uses")
        single.update((slot, tuple(found.get(slot, ()))) for slot in many)
        return replace(base, **single)

    def model(self, statement: syntax.Model) -> list[made.ModelRef | None]:
        kind = self.scope.one_of("format", statement.format, FORMATS)
        location = self.scope.value(statement.location)
        if location is None or kind is None:
            return []
        if not isinstance(location, syntax.Text):
            label = 'expected a path in "quotes"'
            self.scope.error("setting-value", f"`{shown(location)}` is not a path", location.span, label)
            return []
        written = location.value
        at = statement.location.span
        return [made.ModelRef(kind, written if kind == "torch" else self.scope.path(written, at), written, at)]

    def input(self, statement: syntax.Input) -> list[made.InputSpec]:
        return [input_block(statement, self.scope)]

    def data(self, statement: syntax.Data) -> list[made.DataSpec]:
        return [data(statement, self.scope)]

    def select(self, statement: syntax.Select) -> list[tuple[str, Any] | None]:
        name = statement.name
        if name.name in SELECTOR_WORDS:
            headline = f"`{name.name}` is a word of selectors"
            self.scope.error("reserved-name", headline, name.span, "a `select` needs a name of its own")
            return []
        definition = self.picker.definition(name.name, name.span)
        return [] if definition is None else [(name.name, definition)]

    def mode(self, statement: syntax.Mode) -> list[made.Mode | None]:
        kind = self.scope.one_of("mode", statement.kind, MODES)
        body = settings("quantize", statement.body, self.scope)
        return [made.Mode(kind, body, statement.span, self.scope.level(statement.span))] if kind else []

    def layers(self, statement: syntax.Layers) -> list[made.LayersRule]:
        picks = self.picker.picks(statement.picks)
        body = settings("layers", statement.body, self.scope)
        return [made.LayersRule(picks, body, statement.span, self.scope.level(statement.span))]

    def keep(self, statement: syntax.Keep) -> list[made.KeepRule | None]:
        picks, kind = self.picker.picks(statement.picks), dtype(statement.dtype, self.scope)
        if kind is None:
            return []
        if kind.quantized:
            cures = (f"`layers ... {{ weights {kind.name} }}` quantizes to a type",)
            self.scope.error(
                "keep-integer",
                "`keep` names a float type",
                statement.dtype.span,
                "expected float32 or float16",
                cures,
            )
            return []
        return [made.KeepRule(picks, kind, statement.span, self.scope.level(statement.span))]

    def place(self, statement: syntax.Place) -> list[made.PlaceRule | None]:
        found: list[made.PlaceRule | None] = []
        for placing in statement.rules:
            where = self.picker.where(placing)
            if where is not None:
                level = self.scope.level(placing.span)
                found.append(made.PlaceRule(placing.action, where, placing.span, level))
        return found

    def allocate(self, statement: syntax.Allocate) -> list[made.Allocate | None]:
        return [allocate(statement, self.picker, self.scope)]

    def improve(self, statement: syntax.Improve) -> list[made.Improve]:
        return [improve(statement, self.scope)]

    def train(self, statement: syntax.Train) -> list[made.Train | None]:
        return [train(statement, self.scope)]

    def tune(self, statement: syntax.Tune) -> list[made.Tune | None]:
        return [tune(statement, self.scope)]

    def evaluate(self, statement: syntax.Evaluate) -> list[made.Evaluate | None]:
        return [evaluate(statement, self.scope)]

    def passes(self, statement: syntax.Passes) -> list[made.UsePass | None]:
        found: list[made.UsePass | None] = []
        for use in statement.uses:
            stage = self.scope.one_of("stage", use.stage, STAGES)
            if stage is not None:
                path = self.scope.path(use.path.value, use.path.span)
                found.append(made.UsePass(path, use.path.value, use.order, stage, use.span))
        return found

    def allow(self, statement: syntax.Allow) -> list[made.Allow]:
        code = self.scope.one_of("finding", statement.code, FINDINGS)
        picks = self.picker.picks(statement.picks)
        return [] if code is None else [made.Allow(code, picks, statement.because.value, statement.span)]

    def target(self, statement: syntax.Target) -> list[made.Target | None]:
        name = self.scope.one_of("target", statement.name, TARGETS)
        self.scope.in_target = True
        found: dict[str, list[Any]] = {}
        for item in statement.body:
            if isinstance(item, syntax.Setting):
                continue
            slot, made_of = self._target_item(item)
            found.setdefault(slot, []).extend(one for one in made_of if one is not None)
        plain = self._target_settings(statement)
        self.scope.in_target = False
        if name is None:
            return []
        plain.update((slot, (found.get(slot) or [None])[0]) for slot in ("mode", "profile"))
        plain.update((slot, tuple(found.get(slot, ()))) for slot in ("rules", "requires", "allows", "uses"))
        return [made.Target(name, statement.span, **plain)]

    def _target_item(self, item: Any) -> tuple[str, list[Any]]:
        if isinstance(item, syntax.Require):
            return "requires", [require(item, None, self.scope)]
        if isinstance(item, syntax.Profile):
            return "profile", [profile(item, None, self.scope)]
        slot, method = _MAKE[type(item)]
        return slot, method(self, item)

    def _target_settings(self, statement: syntax.Target) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        places: list[tuple[str, Span]] = []
        body = [item for item in statement.body if isinstance(item, syntax.Setting)]
        for setting, forms in table("target", body, self.scope):
            got = fit(setting, forms, self.scope)
            if got is None:
                continue
            word = setting.word.name
            places.append((word, setting.span))
            if word == "cpu":
                plain["cpus"] = tuple(str(group[0]) for group in got)
                continue
            value = got[0][0]
            plain[word] = _VALUES[word](value) if word in _VALUES else value
        return {**plain, "places": tuple(places)}


# What a setting of a target holds, where that is not the value as it is written.
_VALUES: dict[str, Callable[[Any], Any]] = {
    "threads": lambda value: None if value == "auto" else value,
    "io": lambda value: DTYPES[value],
    "high_precision": lambda value: DTYPES[value],
}

_MAKE: dict[type[Any], tuple[str, Any]] = {
    syntax.Model: ("model", _Resolver.model),
    syntax.Input: ("inputs", _Resolver.input),
    syntax.Data: ("data", _Resolver.data),
    syntax.Select: ("selects", _Resolver.select),
    syntax.Mode: ("mode", _Resolver.mode),
    syntax.Layers: ("rules", _Resolver.layers),
    syntax.Keep: ("rules", _Resolver.keep),
    syntax.Place: ("rules", _Resolver.place),
    syntax.Allocate: ("allocate", _Resolver.allocate),
    syntax.Improve: ("improve", _Resolver.improve),
    syntax.Train: ("train", _Resolver.train),
    syntax.Tune: ("tune", _Resolver.tune),
    syntax.Target: ("targets", _Resolver.target),
    syntax.Evaluate: ("evaluates", _Resolver.evaluate),
    syntax.Passes: ("uses", _Resolver.passes),
    syntax.Allow: ("allows", _Resolver.allow),
}
