"""The sections of a page about one build: what was asked, what came out, and what it was found to be worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from qdsl.describe.render import choice_words, totals
from qdsl.harness.measurements import BudgetFacts, BuildFacts
from qdsl.harness.profiles import Profile
from qdsl.harness.results import FLOAT
from qdsl.report import (
    accuracy,
    arena,
    depths,
    devices,
    emulated,
    engine_checks,
    engines,
    samples,
    speed,
    st_reports,
    tables,
    words,
)
from qdsl.report.advice import what_to_do
from qdsl.report.charts import of_style
from qdsl.report.data import Build, Method, as_they_are, headline, scores_of
from qdsl.report.html import NOTHING, Html, join, tag, text
from qdsl.spec.plan import Plan
from qdsl.spec.words import times_smaller

_MOST_FILES = 40
_MARKS = {"+": "quantized", "!": "asked for, stays float", "=": "untouched or kept"}


def section(mark: str, title: str, *inside: str) -> Html:
    """A part of the page, named for those who jump from part to part."""
    return tag("section", tag("h2", title, id=f"{mark}-title"), *inside, id=mark, aria_labelledby=f"{mark}-title")


def sections(build: Build, methods: Sequence[Method]) -> list[tuple[str, str, Html]]:
    """(mark, title, content) of each part, in the order in which people ask."""
    measured = join((devices.part(methods), engines.part(methods)))
    built, on_core, memory = engine_checks.part(methods), emulated.part(methods), arena.part(methods)
    by_st = st_reports.part(methods)
    return [
        ("summary", "Summary", summary(build, methods)),
        ("accuracy", "Accuracy", accuracy.part(build, methods)),
        ("speed", "Speed and memory", speed.part(methods)),
        *([("device", "On the device", measured)] if measured else []),
        *([("core", "On an emulated core", on_core)] if on_core else []),
        *([("memory", "Memory of the core", memory)] if memory else []),
        *([("stedgeai", "ST's own tool", by_st)] if by_st else []),
        *([("engine", "Engine, built without a GPU", built)] if built else []),
        ("layers", "Layers", _each(methods, depths.part)),
        ("samples", "Samples", odd_samples(build, methods)),
        ("recipe", "Recipe", recipe(build)),
        ("plan", "Plan", _each(methods, plan)),
        ("build", "Build", origin(build, methods)),
    ]


def _each(methods: Sequence[Method], content: Callable[[Method], Html]) -> Html:
    """The same for every artifact, under its name where there are several."""
    parts: list[Html] = []
    for method in methods:
        parts += [tag("h3", method.label)] if len(methods) > 1 else []
        parts.append(content(method))
    return tag("div", *parts)


def summary(build: Build, methods: Sequence[Method]) -> Html:
    """The figures that decide, and the budgets."""
    parts: list[Html] = []
    for method in methods:
        parts += [tag("h3", method.label)] if len(methods) > 1 else []
        parts.append(tag("div", *_tiles(build, method), class_="tiles"))
    return tag("div", what_to_do(methods), *parts, budgets(methods))


def recipe(build: Build) -> Html:
    """The recipe as it was compiled, with the bases it extends and the values of its parameters."""
    if not build.recipe:
        return tag("p", "There is no recipe.txt beside the measurements.", class_="missing")
    lines = (join((text(line.replace("\t", "  ")), Html("\n"))) for line in build.recipe.splitlines())
    inside = tag("code", *lines)
    return tag("pre", inside, class_="recipe", role="region", tabindex="0", aria_label="The recipe")


def _tiles(build: Build, method: Method) -> list[Html]:
    facts = method.facts
    before = build.found.model.bytes
    about = f"{times_smaller(before, facts.bytes)}, float {words.size(before)}"
    return [
        _tile("size", words.size(facts.bytes), about, _looks(before, facts.bytes, method)),
        _accuracy_tile(build, method),
        _latency_tile(method),
        _memory_tile(method),
        *_core_tiles(method),
        _activations_tile(build, method),
        _integers_tile(build, method),
        _outputs_tile(method),
    ]


def _tile(name: str, value: str, about: str = "", look: Html = NOTHING) -> Html:
    missing = " missing" if value == words.NOT_MEASURED else ""
    looks = [tag("dd", look, class_="look")] if look else []
    inside = (tag("dt", name), tag("dd", value, class_=f"value{missing}"), *looks, tag("dd", about, class_="about"))
    return tag("dl", *inside, class_="tile")


def _looks(before: float, after: float, method: Method) -> Html:
    """Two bars: the float model's figure above the artifact's."""
    most = max(before, after)
    if not (most > 0 and math.isfinite(most)):
        return NOTHING
    return join((tables.bar(before / most, of_style(0)), tables.bar(after / most, of_style(method.style))))


def _accuracy_tile(build: Build, method: Method) -> Html:
    for evaluation in as_they_are(build):
        key, scores = headline(evaluation, method.facts), scores_of(evaluation, method.facts.target)
        if key is None or scores is None:
            continue
        base, value = evaluation.of(FLOAT).scores[key], scores.scores.get(key)
        about = f"float {words.score(key, base)}"
        if key in scores.drops:
            about += f", drop {words.drop(scores.drops[key])}"
        look = _looks(base, value, method) if value is not None else NOTHING
        return _tile(str(key), words.score(key, value), f"{about}; {words.count(evaluation.samples, 'sample')}", look)
    return _tile("accuracy", words.NOT_MEASURED, "no `evaluate` was carried out")


def _latency_tile(method: Method) -> Html:
    found = method.decisive
    if found is None and any(engine.timed is not None for engine in method.engines):
        return _engine_latency_tile(method)
    found = found or next(iter(method.profiles), None)
    if found is None:
        return _tile("latency", words.NOT_MEASURED, "no `profile` was carried out")
    before, after = found.of(FLOAT).latency(), found.of(method.facts.target).latency()
    where = f"; {_where(method, found)}" if method.facts.device or not found.decides else ""
    return _tile(
        "latency, median",
        words.seconds(after),
        f"{words.faster(before, after)}, float {words.seconds(before)}; {words.count(found.runs, 'run')}{where}",
        _looks(before, after, method),
    )


def _engine_latency_tile(method: Method) -> Html:
    """What runs of an engine took that was built elsewhere: of several, the slowest. There is one that was timed."""
    found = [(timed.latency(), engine) for engine in method.engines if (timed := engine.timed) is not None]
    latency, engine = max(found, key=lambda each: each[0])
    about = f"on {engine.name}; {words.count(len(engine.seconds), 'run')}"
    return _tile("latency, median", words.seconds(latency), about)


def _where(method: Method, found: Profile) -> str:
    """Where a profile was made whose target names a device, or which decides nothing."""
    if not found.decides:
        return f"{found.measured_on}, {found.aside}"
    here = found is method.profile
    return f"{found.measured_on}, not {method.facts.device}" if here else f"on {found.measured_on}"


def _activations_tile(build: Build, method: Method) -> Html:
    """What lives at the same time, as the graph says."""
    before, after = build.found.model.activations, method.facts.activations
    if before is None or after is None:
        why = "the shape of a tensor is free" if before is None else f"{method.facts.target} decides when it builds"
        return _tile("activations", words.NOT_MEASURED, why)
    about = f"{times_smaller(before, after)}, float {words.size(before)}; the most at a time, from the graph"
    return _tile("activations", words.size(after), about, _looks(before, after, method))


def _core_tiles(method: Method) -> list[Html]:
    """What C takes on its device, by the linker, and how much it does, on an emulated core."""
    found = method.facts.emulated
    if found is None:
        return []
    per = found.instructions_per_mac
    about = "per inference" if per is None else f"per inference, {per:.2f} per multiplication"
    return [
        _tile("flash", words.size(found.flash), f"{found.flash:,} bytes, by the linker"),
        _tile("RAM", words.size(found.ram + found.stack), f"{found.stack:,} bytes of it stack, measured"),
        _tile("instructions", words.large(found.instructions), f"{about}; emulated, no cycles"),
    ]


def _memory_tile(method: Method) -> Html:
    found = method.decisive
    held = found.of(method.facts.target).peak_memory if found is not None else None
    if found is None or held is None:
        return _tile("memory", words.NOT_MEASURED)
    before = found.of(FLOAT).peak_memory
    look = _looks(before, held, method) if before is not None else NOTHING
    where = f"; {_where(method, found)}" if method.facts.device else ""
    return _tile("memory, most", words.size(held), f"of the process, float {words.size(before)}{where}", look)


def _integers_tile(build: Build, method: Method) -> Html:
    macs, facts = build.found.model.macs, method.facts
    if not macs:
        why = "shapes do not say" if build.found.model.uncounted else "nothing in the model multiplies"
        return _tile("in integers", words.NOT_MEASURED, why)
    about = f"of {words.large(macs)} multiplications, {_seen(facts)}"
    if build.found.model.uncounted:
        about += f"; those of {words.count(build.found.model.uncounted, 'node')} more are not known"
    part = facts.integer_macs / macs
    return _tile("in integers", words.share(part), about, tables.bar(part, "integer"))


def _seen(facts: BuildFacts) -> str:
    if facts.mismatches is None:
        why = f": {facts.not_verified}" if facts.not_verified else ""
        return f"predicted, not verified{why}"
    return f"{words.count(facts.mismatches, 'node')} otherwise than predicted" if facts.mismatches else "verified"


def _outputs_tile(method: Method) -> Html:
    known = [found for found in method.facts.outputs if found.sqnr_db is not None and not math.isnan(found.sqnr_db)]
    out = [*method.facts.unordered]
    left = f"left out: {', '.join(out[:3])}{', ..' if len(out) > 3 else ''}" if out else ""
    if not known:
        return _tile("outputs", words.NOT_MEASURED, method.facts.not_verified or left)
    worst = min(known, key=lambda found: found.sqnr_db or 0.0)
    about = f"signal to noise, {words.count(worst.samples, 'sample')} of {method.facts.source}"
    return _tile("outputs", words.decibels(worst.sqnr_db), f"{about}; {left}" if left else about)


def verdict(methods: Sequence[Method]) -> str:
    """All budgets in one word: broken before undecided before holds; "" where there are none."""
    found = {budget.verdict for method in methods for budget in method.facts.budgets}
    return next((word for word in ("broken", "undecided", "holds") if word in found), "")


def budgets(methods: Sequence[Method]) -> Html:
    """What the recipe demands, and whether it holds."""
    rows = [_budget(method, budget, len(methods) > 1) for method in methods for budget in method.facts.budgets]
    if not rows:
        return tag("p", "The recipe sets no budgets (`require`).", class_="note")
    columns = [
        *(["build"] if len(methods) > 1 else []),
        "budget",
        "verdict",
        "value",
        "bound",
        "margin",
        "value / bound",
        "how it is known",
    ]
    return tables.table("Budgets", columns, rows, "budgets")


def _budget(method: Method, budget: BudgetFacts, named: bool) -> list[Html]:
    value, bound, margin = budget.value, budget.bound, budget.margin
    shown = words.in_unit(value, budget.unit) if value is not None else words.UNDECIDED
    shown = f"{100 * value:.1f} % of nodes" if value is not None and budget.form == "holds" else shown
    if value is not None and budget.low is not None and budget.high is not None:
        shown += f" [{words.in_unit(budget.low, budget.unit)}, {words.in_unit(budget.high, budget.unit)}]"
    part = value / bound if value is not None and bound else None
    style = "good" if budget.verdict == "holds" else "bad"
    known = budget.source or ("from the file" if value is not None else words.NOT_MEASURED)
    return [
        *([tables.words(method.label)] if named else []),
        tables.name(budget.text),
        tables.words(tables.chip(budget.verdict)),
        tables.words(shown, class_="missing" if value is None else None),
        tables.words("" if bound is None else words.in_unit(bound, budget.unit)),
        tables.nothing() if margin is None else tables.figure(margin, f"{100 * margin:.0f} %"),
        tables.barred(part, f"{part or 0:.2f}", part or 0.0, style),
        tables.words(known),
    ]


def odd_samples(build: Build, methods: Sequence[Method]) -> Html:
    """The samples whose answers differ most, of each evaluation."""
    used: set[str] = set()
    parts: list[Html] = []
    for evaluation in as_they_are(build):
        for method in methods:
            if scores_of(evaluation, method.facts.target) is None:
                continue
            named = f" {method.label}," if len(methods) > 1 else ""
            parts.append(tag("h3", f"{evaluation.task} on {evaluation.data}:{named} what differs most"))
            parts.append(samples.cards(evaluation, method, used))
    return tag("div", *parts) if parts else not_there("evaluate")


def not_there(statement: str) -> Html:
    """What a part says when nothing of it was measured."""
    return tag("p", f"{words.NOT_MEASURED.capitalize()}: no `{statement}` was carried out.", class_="missing")


def plan(method: Method) -> Html:
    """What was decided, by which rules, and what is still open."""
    found = method.plan
    if found is None:
        return tag("p", "There is no plan.json beside the measurements.", class_="missing")
    parts = [tag("p", totals(found), class_="lead"), _statements(found), _rules(found)]
    parts.append(tables.kernels(method.facts.kernels))
    told = [f"left to the data: {each}" for each in found.open]
    told += [f"{flag.message} ({flag.code})" for flag in found.flags] + [
        choice_words(each, found.recipe) for each in found.choices
    ]
    if told:
        parts.append(tag("ul", *(tag("li", each) for each in told)))
    return tag("div", *parts)


def _statements(found: Plan) -> Html:
    rows = [
        [
            tables.words(fact.kind),
            tables.name(fact.name),
            tables.words("; ".join(" ".join(each) for each in fact.settings)),
        ]
        for fact in found.facts
    ]
    return tables.table("Statements of the recipe", ("statement", "name", "settings"), rows)


def _rules(found: Plan) -> Html:
    """How many nodes each rule decided."""
    counts: dict[tuple[str, str, str], int] = {}
    for node in found.nodes:
        kept = _MARKS.get(node.mark, node.mark)
        key = (node.origin.rule, node.origin.place(found.recipe).removeprefix("line "), kept)
        counts[key] = counts.get(key, 0) + 1
    rows = [
        [tables.name(rule), tables.words(line), tables.words(kept), tables.figure(count, str(count))]
        for (rule, line, kept), count in counts.items()
    ]
    return tables.table("Rules", ("rule", "line", "what became of its nodes", "nodes"), rows)


def origin(build: Build, methods: Sequence[Method]) -> Html:
    """What it was made from, with what, and where it was measured."""
    found, model = build.found, build.found.model
    facts = [
        ("recipe", found.recipe),
        (
            "model",
            f"{model.name}, {words.count(model.nodes, 'node')}, {model.parameters:,} parameters, opset {model.opset}",
        ),
        ("lock", "none" if found.lock is None else f"{found.lock.name} {found.lock.sha256}"),
    ]
    files = [(f"model: {name}", digest) for name, digest in model.files.items()]
    files += [(f"{m.facts.target}: {name}", digest) for m in methods for name, digest in m.facts.files.items()]
    files += [(f"{method.facts.target}: plan", method.facts.plan_sha256) for method in methods]
    rows = [[tables.name(name), tables.words(digest, class_="hash")] for name, digest in files[:_MOST_FILES]]
    parts = [tables.pairs(facts), tables.table("Files", ("file", "SHA-256"), rows)]
    places = [("Evaluated with", found.environment)]
    places += [(f"{each.target} profiled on {each.measured_on} with", each.environment) for each in found.profiles]
    shown = (tag("div", tag("h3", name), tables.pairs(list(each.items()))) for name, each in places)
    return tag("div", *parts, tag("div", *shown, class_="beside"))
