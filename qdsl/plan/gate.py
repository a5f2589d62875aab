"""What a recipe asks that is not carried out, and what no plan is made of: told before any work is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from qdsl.cascade.carried import requirement_text
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity, Span
from qdsl.graph.integer_operators import says_quantized
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import Recipe, Require, Target
from qdsl.lang.vocabulary import METRICS
from qdsl.plan.improve import BUILT
from qdsl.targets import TARGETS, target_of
from qdsl.targets.base import Lack

_MEASURE_IT = "to measure it as it is: `quantize none`"
WIDTHS = frozenset({"activation_bits", "bops"})
_KNOWN = frozenset({"size", "macs", "integer_share"}) | WIDTHS
_BUILT_ELSEWHERE = frozenset({"tensorrt"})  # targets whose engines the machine makes that runs them
_LINKED = frozenset({"flash", "ram", "instructions"})
EMITS_C = frozenset({"stm32"})  # targets whose figures a linker and an emulated core tell, no clock here
_PROFILED = frozenset({"latency", "throughput", "cpu", "memory", "energy"})


def find_target(recipe: Recipe, name: str) -> Target | None:
    """The recipe's block for the target called `name`."""
    return next((target for target in recipe.targets if target.name == name), None)


def all_requires(recipe: Recipe, block: Target) -> tuple[Require, ...]:
    """The budgets that hold for a target: its own, and those of every `evaluate`."""
    return (*block.requires, *(require for spec in recipe.evaluates for require in spec.requires))


def gate(recipe: Recipe, target: str, *, checked: bool = False) -> tuple[Diagnostic, ...]:
    """Diagnostics that hold before `compile` for `target`: errors for statements that nothing carries out yet, what is
    wrong with the target's block, warnings for budgets that stay undecided: on a task that is not evaluated, or on what
    only another device decides. `checked`: an engine is built here, which decides for targets without a device."""
    block = find_target(recipe, target)
    return (*_absent(recipe, target, block), *_undecided(recipe, block, checked))


def target_absent(target: str, block: Target | None) -> Diagnostic | None:
    """The error for a target that is not in the index; None for one that is."""
    if target in TARGETS:
        return None
    known = [f"`{name}`" for name in sorted(TARGETS)]
    return Diagnostic(
        "target-absent",
        f"there is no target `{target}` yet",
        block.span if block else None,
        f"this version emits for {', '.join(known)}",
        tuple(f"write `target {name}`" for name in sorted(TARGETS)),
    )


def model_absent(recipe: Recipe) -> Diagnostic | None:
    """The error for a model in a format that nothing imports yet; None for ONNX."""
    if recipe.model is None or recipe.model.format == "onnx":
        return None
    return _not_yet(f"`model {recipe.model.format}`", recipe.model.span, "export the model to ONNX: `model onnx`")


def _absent(recipe: Recipe, target: str, block: Target | None) -> Iterator[Diagnostic]:
    missing = target_absent(target, block)
    if missing is not None:
        yield missing
    elif block is not None:
        yield from target_of(target).problems(block)
    foreign = model_absent(recipe)
    if foreign is not None:
        yield foreign
    if recipe.train is not None:
        yield _not_yet("`train`", recipe.train.span, "take the `train` block out")
    for step, _ in recipe.improve.steps if recipe.improve is not None else ():
        if recipe.improve is not None and step not in BUILT:
            yield _not_yet(f"`{step}` of `improve`", recipe.improve.span, f"take `{step}` out: others work")
    for use in (*recipe.uses, *(block.uses if block else ())):
        yield _not_yet("a rule file in `passes`", use.span, "take this `use` out")


def _not_yet(what: str, span: Span, cure: str) -> Diagnostic:
    return Diagnostic("not-yet", f"{what} is not carried out yet", span, "understood, but not built", (cure,))


def _undecided(recipe: Recipe, block: Target | None, checked: bool) -> Iterator[Diagnostic]:
    device = block.device if block is not None else None
    for spec in recipe.evaluates:
        yield from _budgets(spec.requires, recipe, block, checked)
    if recipe.tune is not None and device is not None:
        yield _warning(
            f"`tune {recipe.tune.goal}` is left out: `device` decides latency, and this machine is not it",
            recipe.tune.span,
        )
    if block is not None:
        yield from _budgets(block.requires, recipe, block, checked)


def _budgets(
    requires: tuple[Require, ...], recipe: Recipe, block: Target | None, checked: bool
) -> Iterator[Diagnostic]:
    """Warnings for budgets on what nothing here measures: a task that is not evaluated, a device elsewhere, an engine
    that is built there."""
    device = block.device if block is not None else None
    tasks = {spec.task for spec in recipe.evaluates}
    own = {row.name: row.tasks for row in METRICS}
    for require in requires:
        name = require.metric.name
        if name in _KNOWN or tasks.intersection(own[name]):
            continue
        if name in _LINKED and block is not None and block.name in EMITS_C:
            continue  # a linker tells, or the verdict says that there was none
        if name == "qdq" and block is not None and block.name in _BUILT_ELSEWHERE:
            if checked and device is None:
                continue
            here = "" if device is not None else "`--check rtx` builds one here, "
            told = f"is decided by an engine: {here}`qdsl report BUILD --add layers.json` takes one in"
            yield _warning(f"`require {requirement_text(require)}` {told}", require.span)
        elif name not in _PROFILED:
            yield _warning(f"`require {requirement_text(require)}` cannot be decided yet", require.span)
        elif device is not None:
            told = f"`require {requirement_text(require)}` is decided on {device[:80]}, and this machine is not it"
            yield _warning(told, require.span)


def _warning(headline: str, span: Span) -> Diagnostic:
    label = "undecided: it counts neither as held nor as broken"
    return Diagnostic("undecided", headline, span, label, severity=Severity.WARNING)


def refuse_absent(recipe: Recipe, name: str, block: Target | None) -> None:
    """Raises for a target that there is not, and for a recipe without a mode."""
    absent = target_absent(name, block)
    if absent is not None:
        raise QdslError([absent])
    if recipe.mode is None and (block is None or block.mode is None):
        raise QdslError([Diagnostic("mode-missing", "the recipe has no `quantize` statement", recipe.span)])


def tell_block(problems: Iterable[Diagnostic], diags: Diagnostics) -> None:
    """What is wrong with a target's block: warnings to `diags`. Raises QdslError with its errors."""
    found = Diagnostics()
    found.extend(problems)
    found.raise_errors()
    diags.extend(found)


def refuse_lacking(recipe: Recipe, block: Target | None, lacking: Sequence[Lack]) -> None:
    """Raises for what no plan makes good: the target would not take the model."""
    span = block.span if block is not None else recipe.model.span if recipe.model else recipe.span
    found = [Diagnostic("target-cannot", lack.headline, span, lack.label, lack.help) for lack in lacking]
    if found:
        raise QdslError(found)


def quantized(view: GraphView) -> list[str]:
    """The nodes that say that the model is quantized."""
    return [node.name for node in view.nodes if says_quantized(node.op)]


def refuse_quantized(recipe: Recipe, view: GraphView) -> None:
    """Raises for a model that is quantized already."""
    found = quantized(view)
    if found:
        raise QdslError(
            [
                Diagnostic(
                    "already-quantized",
                    f"{view.model_name or 'the model'} is quantized already: {len(found)} of its nodes say so",
                    recipe.model.span if recipe.model else recipe.span,
                    f"the first is `{found[0]}`",
                    ("start from the float model: quantizing twice only adds error", _MEASURE_IT),
                )
            ]
        )
