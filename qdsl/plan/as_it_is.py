"""`quantize none`: the file is the artifact as it is, and a recipe may only measure it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qdsl.cascade.carried import requirement_text
from qdsl.cascade.cascade import all_rules
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Severity, Span
from qdsl.lang.recipe import Mode, Recipe, Require, Target
from qdsl.spec.plan import Origin, Plan

RAN = "as it runs here"  # why a node is said to run as it does, once the runtime has said it
_AGAINST_FLOAT = ("drop", "ratio", "speedup")


def check(recipe: Recipe, block: Target | None, mode: Mode, diags: Diagnostics, *, quantized: bool) -> None:
    """Raises QdslError: setting-unused for everything that would change the file, no-float-model for budgets against a
    float model; a note says what stands in its place. `quantized` whether the file has a node that says it is."""
    found = [*_changes(recipe, block, mode), *_compared(recipe, block, quantized)]
    if found:
        raise QdslError(found)
    why = "there is no float model" if quantized else "nothing in the file is quantized, and nothing will be"
    headline = f"{why}: what stands as `float` is the file with every node run by itself, unfused"
    diags.add(Diagnostic("no-float-model", headline, mode.span, severity=Severity.NOTE))


def _changes(recipe: Recipe, block: Target | None, mode: Mode) -> Iterator[Diagnostic]:
    settings = mode.settings
    for what in ("weights", "activations", "calibrate", "range"):
        said = getattr(settings, what)
        if said is not None:
            yield _unused(f"`{what}`", said.span)
    if block is not None and block.high_precision is not None:
        yield _unused("`high_precision`", block.place("high_precision"))
    for rule in all_rules(recipe, block):
        yield _unused("this rule", rule.span)
    for word in ("tune", "improve", "allocate", "train"):
        statement = getattr(recipe, word)
        if statement is not None:
            yield _unused(f"`{word}`", statement.span)


def _unused(what: str, span: Span) -> Diagnostic:
    headline = f"{what} changes nothing under `quantize none`: the file stays as it is"
    return Diagnostic("setting-unused", headline, span, help=("take it out, or quantize a float model",))


def _compared(recipe: Recipe, block: Target | None, quantized: bool) -> Iterator[Diagnostic]:
    budgets: list[Require] = [budget for spec in recipe.evaluates for budget in spec.requires]
    for budget in (*budgets, *(block.requires if block is not None else ())):
        if budget.form in _AGAINST_FLOAT:
            none = "there is none" if quantized else "`quantize none` makes nothing of it that could be compared"
            headline = f"`require {requirement_text(budget)}` compares with a float model, and {none}"
            cures = ["bound the figure itself, such as `require top1 >= 0.7`"]
            cures += [] if quantized else ["or quantize the model: `quantize static { .. }`"]
            yield Diagnostic("no-float-model", headline, budget.span, help=tuple(cures))


def untouched(plan: Plan) -> Plan:
    """The plan that leaves every node as it is: what runs in integers, only the runtime says."""
    nodes = tuple(replace(node, mark="=", note="as the file has it", origin=Origin("default")) for node in plan.nodes)
    totals = replace(plan.totals, refused=0, predicted_bytes=plan.totals.float_bytes)
    return replace(plan, nodes=nodes, flags=(), totals=totals)
