"""Statements that a plan carries along as data: what will be measured, over which data, prepared how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qdsl.cascade.rule_words import Origins
from qdsl.lang.quoting import quoted
from qdsl.lang.recipe import (
    Allocate,
    Allow,
    DataSpec,
    Evaluate,
    EvaluateValue,
    InputSpec,
    KeepRule,
    LayersRule,
    Limit,
    Metric,
    PlaceRule,
    Profile,
    Recipe,
    Require,
    Target,
    Tune,
    TypeRequest,
    UsePass,
)
from qdsl.lang.selectors import Matching, NameGlob, Selector, TensorGlob
from qdsl.spec.plan import Fact

Setting = tuple[str, str]
ALLOCATED = "allocate"  # the level of rules that `allocate` gave


def carried(recipe: Recipe, target: Target | None) -> tuple[Fact, ...]:
    """Every statement that no other part of the plan holds, sorted by kind, in source order within a kind."""
    words = Origins(recipe)
    found = [*_recipe_facts(recipe, words)]
    if target is not None:
        found.append(_target(target, words))
    return tuple(sorted(found, key=lambda fact: fact.kind))


def _recipe_facts(recipe: Recipe, words: Origins) -> Iterator[Fact]:
    if recipe.model is not None:
        yield Fact("model", recipe.model.format, (("from", recipe.model.written),))
    yield from (_input(spec) for spec in recipe.inputs)
    yield from (_data(spec) for spec in recipe.data)
    yield from (_evaluate(spec) for spec in recipe.evaluates)
    if recipe.allocate is not None:
        yield _allocate(recipe.allocate, words)
        yield from _assigned(recipe)
    if recipe.improve is not None:
        yield Fact("improve", "", tuple((name, _join(args)) for name, args in recipe.improve.steps))
    if recipe.train is not None:
        settings = tuple((name, _join(args)) for name, args in recipe.train.settings)
        yield Fact("train", recipe.train.method, (("on", recipe.train.data or ""), *settings))
    if recipe.tune is not None:
        yield _tune(recipe.tune)
    yield from (_allow(allow, words) for allow in recipe.allows)
    yield from (_use(use) for use in recipe.uses)
    if recipe.params:
        yield Fact("param", "", recipe.params)


def _input(spec: InputSpec) -> Fact:
    return Fact("input", spec.name or "", tuple((step.name, _join(step.args)) for step in spec.steps))


def _data(spec: DataSpec) -> Fact:
    settings: list[Setting] = [("from", spec.source), *(("path", path) for path in spec.written or spec.paths)]
    if spec.split is not None:
        settings.append(("split", spec.split))
    if spec.take is not None:
        count, seed = spec.take
        settings.append(("take", f"{count}" if seed is None else f"{count} seed {seed}"))
    settings += [("oversample", f"{name} {_text(count)}") for name, count in spec.oversample]
    settings += [("ratio", f"{name} {_text(part)}") for name, part in spec.ratio]
    if spec.balance:
        settings.append(("balance", "classes"))
    settings += [("class", name) for name in spec.classes]
    settings += [("as", str(number)) for number in spec.numbers]
    if spec.ignore is not None:
        settings.append(("ignore", str(spec.ignore)))
    settings += [("array", f"{inside} {name}") for inside, name in spec.arrays]
    if spec.label is not None:
        settings.append(("label", spec.label))
    if spec.every is not None:
        settings.append(("every", str(spec.every)))
    settings += [("column", column) for column in spec.columns]
    settings += [("outside", folder) for folder in spec.outside]
    return Fact("data", spec.name, tuple(settings))


def _evaluate(spec: Evaluate) -> Fact:
    settings: list[Setting] = [("on", spec.data), *(("output", name) for name in spec.output)]
    settings += [(name, _text(value)) for name, value in spec.settings]
    settings += [("measure", _metric(metric)) for metric in spec.measure]
    settings += _profile(spec.profile) if spec.profile else []
    if spec.corrupt is not None:
        severities = ", ".join(map(str, spec.corrupt.severities))
        settings += [("corrupt", f"{kind} {severities}") for kind in spec.corrupt.kinds]
    settings += _requires(spec.requires)
    return Fact("evaluate", spec.task, tuple(settings))


def _target(target: Target, words: Origins) -> Fact:
    settings: list[Setting] = [("threads", "auto" if target.threads is None else str(target.threads))]
    if target.device is not None:
        settings.append(("device", target.device))
    if target.version is not None:
        settings.append(("version", target.version))
    if target.io is not None:
        settings.append(("io", target.io.name))
    settings += [(word, said) for word, said, usual in _of_c(target) if said != usual]
    if target.high_precision is not None:
        settings.append(("high_precision", target.high_precision.name))
    settings += [("cpu", cpu) for cpu in target.cpus]
    if target.exact != "weights":
        settings.append(("exact", target.exact))
    settings += _profile(target.profile) if target.profile else []
    settings += _requires(target.requires)
    settings += [(f"allow {allow.code}", words.words(allow.picks.span)) for allow in target.allows]
    settings += [("use", f"{use.written} {use.order} {use.stage}") for use in target.uses]
    return Fact("target", target.name, tuple(settings))


def _of_c(target: Target) -> tuple[tuple[str, str, str], ...]:
    """What a target says of its C: the word, its value, and the usual one."""
    settings = ("optimize", target.optimize, "speed"), ("rounding", target.rounding, "ort")
    return (*settings, ("kernels", target.kernels, "own"))


def _allocate(spec: Allocate, words: Origins) -> Fact:
    settings: list[Setting] = [("from", request_text(choice)) for choice in spec.choices]
    if spec.sensitivity is not None:
        settings.append(("sensitivity", f"{spec.sensitivity.method} on {spec.sensitivity.data}"))
        settings += [(name, _text(value)) for name, value in spec.sensitivity.settings]
    if spec.minimize is not None:
        settings.append(("minimize", spec.minimize))
    settings += [("under", limit_text(limit)) for limit in spec.limits]
    if spec.evaluations is not None:
        settings.append(("evaluations", str(spec.evaluations)))
    settings += [("pin", f"{words.words(pin.picks.span)} to {request_text(pin.request)}") for pin in spec.pins]
    settings += [("group", words.words(picks.span)) for picks in spec.groups]
    return Fact("allocate", spec.what, tuple(settings))


def _assigned(recipe: Recipe) -> Iterator[Fact]:
    """What `allocate` gave, as the lines that would say it."""
    for rule in recipe.rules:
        if rule.level == ALLOCATED and not isinstance(rule, PlaceRule):
            yield Fact("assigned", "", (("line", _rule_line(rule)),))


def _rule_line(rule: LayersRule | KeepRule) -> str:
    picked = ", ".join(map(_selector, rule.picks.parts))
    if isinstance(rule, KeepRule):
        return f"keep {picked} in {rule.dtype}"
    asked = (("weights", rule.settings.weights), ("activations", rule.settings.activations))
    settings = (f"{word} {request_text(request)}" for word, request in asked if request is not None)
    return f"layers {picked} {{ {'; '.join(settings)} }}"


def _selector(part: Selector) -> str:
    if isinstance(part, Matching):
        return f"matching {quoted(part.pattern)}"
    assert isinstance(part, NameGlob | TensorGlob), "no other is made of names"
    names = ", ".join(quoted(name) for name, _ in part.patterns)
    return f"tensor {names}" if isinstance(part, TensorGlob) else names


def _tune(spec: Tune) -> Fact:
    settings: list[Setting] = [("on", spec.data)] if spec.data is not None else []
    counts = (("trials", spec.trials), ("blocks", spec.blocks), ("threads", spec.threads))
    settings += [(name, str(count)) for name, count in counts if count is not None]
    return Fact("tune", spec.goal, (*settings, *_requires(spec.requires)))


def _allow(allow: Allow, words: Origins) -> Fact:
    return Fact("allow", allow.code, (("on", words.words(allow.picks.span)), ("because", allow.because)))


def _use(use: UsePass) -> Fact:
    return Fact("use", use.written, ((use.order, use.stage),))


def _profile(profile: Profile) -> list[Setting]:
    measured = [("profile", _metric(metric)) for metric in profile.metrics]
    return measured + [(f"profile {name}", _text(value)) for name, value in profile.settings]


def _requires(requires: Iterable[Require]) -> list[Setting]:
    return [("require", requirement_text(require)) for require in requires]


def requirement_text(require: Require) -> str:
    """A budget in the words of the language: `map50 drop <= 1 pp`."""
    form = [require.form] if require.form in ("drop", "ratio", "speedup") else []
    bound = [require.comparison or "", str(require.bound)] if require.bound is not None else []
    return " ".join([_metric(require.metric), *form, *bound])


def limit_text(limit: Limit) -> str:
    """What `minimize` keeps to, in the words of the language: `map50 drop <= 1 pp on dev`."""
    return requirement_text(limit.require) + (f" on {limit.data}" if limit.data is not None else "")


def request_text(request: TypeRequest) -> str:
    """What is asked of a type, in the words of the language: `int4 per_block 32`, `6 bit`."""
    words = [request.dtype.name if request.dtype is not None else f"{request.bits} bit"]
    if request.symmetric is not None:
        words.append("symmetric" if request.symmetric else "affine")
    if request.granularity is not None:
        words.append(request.granularity.value)
    words += [str(request.block)] if request.block is not None else []
    words += ["reduce_range"] if request.reduce_range else []
    words += ["storage_only"] if request.storage_only else []
    return " ".join(words)


def _metric(metric: Metric) -> str:
    return " ".join([metric.name, *metric.qualifiers])


def _join(args: Iterable[int | float | str]) -> str:
    return " ".join(_text(arg) for arg in args)


def _text(value: EvaluateValue) -> str:
    """Numbers so that two different ones differ, strings as they are."""
    if isinstance(value, tuple):
        return ", ".join(_text(each) for each in value)
    return repr(value) if isinstance(value, float) else str(value)
