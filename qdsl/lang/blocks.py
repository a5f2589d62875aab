"""`input`, `data`, `evaluate`, `allocate`, `improve`, `train` and `tune` blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qdsl.diag import Span
from qdsl.lang import syntax
from qdsl.lang.budgets import metrics, profile, require
from qdsl.lang.picking import Picker
from qdsl.lang.recipe import (
    Allocate,
    Corrupt,
    DataSpec,
    Evaluate,
    EvaluateValue,
    Improve,
    InputSpec,
    InputStep,
    Limit,
    Pin,
    Profile,
    Require,
    Sensitivity,
    Train,
    Tune,
    TypeRequest,
)
from qdsl.lang.schemes import data_name, type_request
from qdsl.lang.scope import Scope, shown
from qdsl.lang.values import Plain, fit, table
from qdsl.lang.vocabulary import ALLOCATED, CORRUPTIONS, MINIMIZED, SENSITIVITIES, SOURCES, TASKS, TRAIN_METHODS, TUNED
from qdsl.spec.words import count

_FEWEST_BLOCKS = 6
MIDDLING = 3


def input_block(statement: syntax.Input, scope: Scope) -> InputSpec:
    """The preprocessing of one input, in the order written."""
    steps = []
    for setting, forms in table("input", statement.body, scope):
        got = fit(setting, forms, scope)
        if got is not None:
            steps.append(InputStep(setting.word.name, got[0], setting.span))
    return InputSpec(statement.name.value if statement.name else None, tuple(steps), statement.span)


def data(statement: syntax.Data, scope: Scope) -> DataSpec:
    """A dataset; `source` is empty where no `from` is written yet."""
    source = scope.one_of("source", statement.source, SOURCES) if statement.source else None
    written = _paths(statement.location, scope) if statement.location else ()
    at = statement.location.span if statement.location else statement.span
    paths = tuple(scope.path(text, at) for text in written)
    found: dict[str, Any] = {}
    places = [("from", at)] if statement.location else []
    for setting, forms in table("data", statement.body, scope):
        got = fit(setting, forms, scope)
        if got is not None:
            places.append((setting.word.name, setting.span))
            _data_setting(setting.word.name, got, found)
            if setting.word.name == "classes":
                _check_classes(found, setting.span, scope)
            if setting.word.name == "outside":
                found["outside_paths"] = tuple(scope.path(folder, setting.span) for folder in found["outside"])
    for first, second in (("ratio", "oversample"), ("balance", "oversample"), ("balance", "ratio")):
        if first in found and second in found:
            headline = f"`{first}` and `{second}` both decide how often classes are drawn"
            scope.error("contradiction", headline, statement.span, "keep one of them")
    return DataSpec(statement.name.name, source or "", paths, statement.span, written, places=tuple(places), **found)


def _check_classes(found: dict[str, Any], span: Span, scope: Scope) -> None:
    """Each class, and each number of the model, once; as many numbers as names."""
    names, numbers = found["classes"], found["numbers"]
    twice = next((value for row in (names, numbers) for at, value in enumerate(row) if value in row[:at]), None)
    if twice is not None:
        scope.error("setting-value", f"`classes` names {twice} twice", span, help=["name each class once"])
    elif numbers and len(numbers) != len(names):
        label = f"{count(len(names), 'class', 'classes')}, {count(len(numbers), 'number')}"
        scope.error("setting-value", "`classes` has another number of names than of numbers", span, label)


def _paths(location: syntax.Value, scope: Scope) -> tuple[str, ...]:
    value = scope.value(location)
    items = value.items if isinstance(value, syntax.ListOf) else (value,) if value is not None else ()
    texts = []
    for item in items:
        if isinstance(item, syntax.Text):
            texts.append(item.value)
        else:
            label = 'expected a path in "quotes"'
            scope.error("setting-value", f"`{shown(item)}` is not a path", item.span, label)
    return tuple(texts)


def _data_setting(word: str, got: tuple[tuple[Plain, ...], ...], found: dict[str, Any]) -> None:
    if word == "take":
        found["take"] = (got[0][0], got[0][2] if len(got[0]) > 1 else None)
    elif word == "array":
        found["arrays"] = (*found.get("arrays", ()), *got)
    elif word in ("oversample", "ratio"):
        found[word] = got
    elif word in ("outside", "columns"):
        found[word] = tuple(group[0] for group in got)
    elif word == "balance":
        found["balance"] = True
    elif word == "classes":
        found["numbers"] = tuple(value for value in got[0] if isinstance(value, int))
        found["classes"] = got[0][: -len(found["numbers"]) - 1] if found["numbers"] else got[0]
    else:
        found[word] = got[0][0]


def evaluate(statement: syntax.Evaluate, scope: Scope) -> Evaluate | None:
    """What is measured on which data; None after an error in its header."""
    task = scope.one_of("task", statement.task, TASKS)
    name = data_name(statement.data, scope)
    measured: tuple[Any, ...] = ()
    watched: Profile | None = None
    changed: Corrupt | None = None
    requires: list[Require] = []
    for item in statement.body:
        if isinstance(item, syntax.Measure):
            measured = metrics(item, task, scope)
        elif isinstance(item, syntax.Profile):
            watched = profile(item, task, scope)
        elif isinstance(item, syntax.Corrupt):
            changed = corrupt(item, scope)
        elif isinstance(item, syntax.Require):
            budget = require(item, task, scope)
            requires += [budget] if budget is not None else []
    outputs, plain, places = _evaluate_settings(statement, scope)
    if task is None or name is None:
        return None
    return Evaluate(task, name, statement.span, outputs, plain, measured, watched, tuple(requires), changed, places)


def corrupt(found: syntax.Corrupt, scope: Scope) -> Corrupt | None:
    """`corrupt { light; noise; severity [1, 3, 5] }`: without kinds all of them, without a severity 3."""
    kinds: list[str] = []
    severities: tuple[int, ...] = (MIDDLING,)
    for setting, forms in table("corrupt", found.body, scope):
        got = fit(setting, forms, scope)
        if got is None:
            return None
        if setting.word.name == "severity":
            severities = tuple(int(value) for value in got[0])
        else:
            kinds.append(setting.word.name)
    return Corrupt(tuple(kinds) or CORRUPTIONS, tuple(dict.fromkeys(severities)), found.span)


_Places = tuple[tuple[str, Span], ...]


def _evaluate_settings(statement: syntax.Evaluate, scope: Scope) -> tuple[tuple[str, ...], tuple[Any, ...], _Places]:
    """Outputs, settings as (name, value), and where each stands."""
    outputs: tuple[str, ...] = ()
    plain: list[tuple[str, EvaluateValue]] = []
    places: list[tuple[str, Span]] = []
    body = [item for item in statement.body if isinstance(item, syntax.Setting)]
    for setting, forms in table("evaluate", body, scope):
        got = fit(setting, forms, scope)
        if got is None:
            continue
        name, values = setting.word.name, got[0]
        places.append((name, setting.span))
        if name == "output":
            outputs = tuple(str(group[0]) for group in got)
        elif name == "decode" and len(values) > 1:
            plain += [("decode", "python"), ("python", values[1])]
        elif isinstance(setting.groups[0][0], syntax.ListOf):
            plain.append((name, tuple(float(v) if isinstance(v, float) else int(v) for v in values)))
        else:
            plain.append((name, values[0]))
    return outputs, tuple(plain), tuple(places)


def allocate(statement: syntax.Allocate, picker: Picker, scope: Scope) -> Allocate | None:
    """Automatic mixed precision; None after an error in its header."""
    what = scope.one_of("tensor kind", statement.what, ALLOCATED)
    header = replace(statement.span, end_line=statement.span.line, end_column=1 << 20)
    found = Allocate(what or "", _choices(statement, scope), statement.span, header)
    for setting, forms in table("allocate", [i for i in statement.body if isinstance(i, syntax.Setting)], scope):
        got = fit(setting, forms, scope)
        if got is not None:
            found = replace(found, evaluations=int(got[0][0]))
    for item in statement.body:
        if isinstance(item, syntax.Setting):
            continue
        if isinstance(item, syntax.Sensitivity):
            found = replace(found, sensitivity=_sensitivity(item, scope))
        elif isinstance(item, syntax.Minimize):
            goal = scope.one_of("goal", item.what, MINIMIZED)
            limits = [_limit(each, scope) for each in item.limits]
            found = replace(found, minimize=goal, limits=tuple(one for one in limits if one is not None))
        elif isinstance(item, syntax.Pin):
            asked = type_request(syntax.Setting(item.span, statement.what, ((item.dtype,),)), "layers", scope)
            picks = picker.picks(item.picks)
            found = replace(found, pins=(*found.pins, Pin(picks, asked, item.span))) if asked else found
        else:
            found = replace(found, groups=(*found.groups, picker.picks(item.picks)))
    return found if what else None


def _choices(statement: syntax.Allocate, scope: Scope) -> tuple[TypeRequest, ...]:
    """The types to choose among, each as after `weights`."""
    if statement.choices is None or not statement.choices.items:
        headline, listed = "`allocate` has nothing to choose from", statement.choices
        missing = "types such as `[int8, int4]`" if listed else f"`allocate {statement.what.name} from [int8, int4]`"
        scope.error("setting-value", headline, (listed or statement.what).span, f"expected {missing}")
    if statement.choices is None:
        return ()
    found: dict[TypeRequest, TypeRequest] = {}
    for item in statement.choices.items:
        words = item.items if isinstance(item, syntax.Several) else (item,)
        made = type_request(syntax.Setting(item.span, statement.what, (words,)), "layers", scope)
        same = made and replace(made, span=statement.span)
        if same in found:
            scope.error("setting-value", "this type stands twice", item.span, "expected each type once")
        elif made is not None and same is not None:
            found[same] = made
    return tuple(found.values())


def _limit(item: syntax.Limit, scope: Scope) -> Limit | None:
    """A bound; None after an error."""
    found = require(item.bound, None, scope)
    if found is None:
        return None
    if item.data is None:
        return Limit(found)
    name = data_name(item.data, scope)
    return None if name is None else Limit(found, name)


def _sensitivity(item: syntax.Sensitivity, scope: Scope) -> Sensitivity | None:
    method = scope.one_of("sensitivity", item.method, SENSITIVITIES)
    name = data_name(item.data, scope)
    plain: list[tuple[str, Plain]] = []
    for setting, forms in table("sensitivity", item.body, scope):
        got = fit(setting, forms, scope)
        if got is None:
            continue
        word, value = setting.word.name, got[0][0]
        if word == "epsilon" and not float(value) > 0:
            scope.error("setting-value", "`epsilon` is no size", setting.span, "expected a number above 0")
        plain.append((word, value))
        plain += [("seed", got[0][2])] if len(got[0]) > 1 else []
    return Sensitivity(method, name, tuple(plain), item.span) if method and name else None


def improve(statement: syntax.Improve, scope: Scope) -> Improve:
    """Steps that need no training."""
    steps = []
    for setting, forms in table("improve", statement.body, scope):
        got = fit(setting, forms, scope)
        if got is not None:
            steps.append((setting.word.name, got[0]))
    return Improve(tuple(steps), statement.span)


def train(statement: syntax.Train, scope: Scope) -> Train | None:
    """Quantization-aware training; None after an error in its header."""
    method = scope.one_of("training", statement.method, TRAIN_METHODS)
    name = data_name(statement.data, scope) if statement.data else None
    found = []
    for setting, forms in table("train", statement.body, scope):
        got = fit(setting, forms, scope)
        if got is None:
            continue
        if setting.word.name == "validate" and data_name(setting.groups[0][0], scope) is None:
            continue
        found.append((setting.word.name, tuple(value for group in got for value in group)))
    if method is None or (statement.data is not None and name is None):
        return None
    return Train(method, name, tuple(found), statement.span)


def tune(statement: syntax.Tune, scope: Scope) -> Tune | None:
    """Choices by measurement; None after an error in its header."""
    goal = scope.one_of("goal", statement.goal, TUNED)
    name = data_name(statement.data, scope) if statement.data else None
    bounds = [_tune_bound(item, scope) for item in statement.body if isinstance(item, syntax.Require)]
    plain: dict[str, Any] = {}
    body = [item for item in statement.body if isinstance(item, syntax.Setting)]
    for setting, forms in table("tune", body, scope):
        got = fit(setting, forms, scope)
        if got is not None and setting.word.name == "blocks" and int(got[0][0]) < _FEWEST_BLOCKS:
            label = f"expected {_FEWEST_BLOCKS} or more: fewer give no interval of 95 %"
            scope.error("setting-value", "too few `blocks`", setting.span, label)
        elif got is not None:
            plain[setting.word.name] = got[0][0]
    if goal is None or (statement.data is not None and name is None):
        return None
    return Tune(goal, statement.span, name, requires=tuple(b for b in bounds if b is not None), **plain)


def _tune_bound(item: syntax.Require, scope: Scope) -> Require | None:
    """What an alternative may cost: `sqnr >= X dB`, or `sqnr drop <= X dB` against the build before it."""
    found = require(item, "fidelity", scope)
    if found is None:
        return None
    forms = {"value": (">", ">="), "drop": ("<", "<=")}
    absolute = found.bound is None or found.bound.unit != "%"
    if found.metric.name == "sqnr" and absolute and found.comparison in forms.get(found.form, ()):
        return found
    cures = ("require sqnr >= 30 dB", "require sqnr drop <= 0.5 dB")
    headline = "`tune` bounds what it changes by the signal-to-noise ratio of the outputs"
    scope.error("wrong-metric", headline, item.span, "expected a bound on `sqnr`", [f"such as `{c}`" for c in cures])
    return None
