"""`allocate weights` as a problem of exact choice: a unit per weight tensor, a cost in bytes and a loss per choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qdsl.allocate.weight_choices import Choice, pins
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.lang.recipe import Allocate, Pin, Recipe
from qdsl.plan.context import Context
from qdsl.search import Assignment, Option, Problem, Unit
from qdsl.select.selection import Selection
from qdsl.spec.assigned import Assigned

SIZE = "size"


@dataclass(frozen=True)
class Asked:
    """The problem, and the nodes (of activations the tensors) that a unit decides where it takes the choice of these
    words."""

    problem: Problem
    decides: Callable[[str, str], tuple[str, ...]]

    def given(self, found: Assignment) -> tuple[Assigned, ...]:
        """What an assignment gives each node."""
        pairs = ((node, choice) for unit, choice in found.choices for node in self.decides(unit, choice))
        return tuple(sorted(Assigned(node, choice) for node, choice in pairs))


def problem_of(
    recipe: Recipe,
    context: Context,
    nodes: Sequence[str],
    choices: Sequence[Choice],
    losses: Mapping[str, Mapping[str, float]],
) -> Asked:
    """`losses` are by unit (its first node) and the words of a choice. Raises QdslError for groups and pins that pick
    nothing here."""
    spec = recipe.allocate
    assert spec is not None, "the step has seen to it"
    selection = Selection(context.view, Diagnostics(), dict(recipe.selects))
    pinned = dict(_pinned(spec, selection, choices, nodes))
    units, decides = [], {}
    for group in by_tensor(choices, nodes):
        options = tuple(_options(spec, group, choices, losses, pinned))
        if options:
            units.append(Unit(group[0], options))
            decides[group[0]] = group
    owner = {node: unit for unit, group in decides.items() for node in group}
    ties = tuple(
        tuple(dict.fromkeys(owner[n] for n in names if n in owner)) for names in _grouped(spec, selection, nodes)
    )
    pins = tuple((owner[node], words) for node, words in pinned.items() if node in owner)
    selection.diags.raise_errors()
    problem = Problem((SIZE,), tuple(units), tuple(tie for tie in ties if tie), pins)
    return Asked(problem, lambda unit, words: decides[unit])


def _options(
    spec: Allocate,
    group: Sequence[str],
    choices: Sequence[Choice],
    losses: Mapping[str, Mapping[str, float]],
    pinned: Mapping[str, str],
) -> Iterator[Option]:
    """What all nodes of a unit can be: the types of pins are for those alone that are pinned to them."""
    for choice in choices:
        open_ = choice.request in spec.choices or any(pinned.get(node) == choice.words for node in group)
        if not open_ or not _able(choice, group):
            continue
        yield Option(choice.words, losses[group[0]][choice.words], (choice.bytes(group),))


def _able(choice: Choice, group: Sequence[str]) -> bool:
    """Whether the target stores the weights so; a float type needs nothing stored."""
    dtype = choice.request.dtype
    floats = dtype is not None and not dtype.quantized
    return not choice.refused.keys() & set(group) and (floats or all(choice.weights[node] for node in group))


def by_tensor(choices: Sequence[Choice], nodes: Sequence[str]) -> list[tuple[str, ...]]:
    """The nodes, those together that read one tensor, in graph order."""
    readers: dict[str, list[str]] = {}
    for choice in choices:
        for node, weights in choice.weights.items():
            for weight in weights:
                readers.setdefault(weight.tensor, []).append(node)
    group = {node: node for node in nodes}
    for found in readers.values():
        joined = {group[node] for node in found}
        first = next(group[node] for node in nodes if group[node] in joined)
        group = {node: first if own in joined else own for node, own in group.items()}
    together: dict[str, list[str]] = {}
    for node, own in group.items():
        together.setdefault(own, []).append(node)
    return [tuple(each) for each in together.values()]


def _pinned(
    spec: Allocate, selection: Selection, choices: Sequence[Choice], nodes: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """What pins say, later ones winning: (node, the words of its choice)."""
    names = set(nodes)
    for pin in spec.pins:
        words = _words_of(choices, pin)
        picked = [selection.view.nodes[at].name for at in selection.nodes(pin.picks)]
        if picked and names.isdisjoint(picked):
            headline = "this pin reaches nothing that `allocate` decides"
            cures = ("take it out: rules of the recipe decide what it picks, or it has no weights",)
            raise QdslError([Diagnostic("allocate-pin", headline, pin.span, help=cures)])
        yield from ((name, words) for name in picked if name in names)


def _words_of(choices: Sequence[Choice], pin: Pin) -> str:
    return next(choice.words for choice in choices if pins(pin, choice.request))


def _grouped(spec: Allocate, selection: Selection, nodes: Sequence[str]) -> Iterator[list[str]]:
    known = set(nodes)
    for picks in spec.groups:
        names = (selection.view.nodes[at].name for at in selection.nodes(picks))
        yield [name for name in names if name in known]
