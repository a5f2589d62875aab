"""What widths of activations cost, as sums over the units that `allocate activations` decides: in integers, so that a
bound is a bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qdsl.allocate.tensors import Width, Widths
from qdsl.diag import Diagnostic, QdslError
from qdsl.lang.recipe import Allocate
from qdsl.plan import Decisions
from qdsl.predict.bits import FLOAT_BITS, Product, bits_of, products, stored
from qdsl.predict.macs_shapes import size

ACTIVATION_BITS, BOPS = "activation_bits", "bops"
MEASURES = (ACTIVATION_BITS, BOPS)


@dataclass(frozen=True)
class Costs:
    """One measure: what each unit costs by the words of a choice, and what the rest does (`fixed`). What is told is the
    sum over `each`: of the bits of all elements their mean, of bit operations themselves. `floats` is what the float
    model has, as it is told."""

    measure: str
    units: Mapping[str, Mapping[str, int]]
    fixed: int
    each: int
    floats: int

    def told(self, cost: int) -> float:
        """The figure of a sum over the units."""
        return (self.fixed + cost) / self.each


def costs(spec: Allocate, decided: Decisions, found: Widths, measure: str) -> Costs:
    """`decided` is the plan without any choice. Raises QdslError allocate-shape where a shape is not known, and
    allocate-bound for bit operations that are no sum over the units."""
    return _bits(spec, decided, found) if measure == ACTIVATION_BITS else _operations(spec, decided, found)


def _bits(spec: Allocate, decided: Decisions, found: Widths) -> Costs:
    schemes = {each.tensor: each.scheme for each in decided.plan.tensors}
    elements = {name: _elements(spec, decided, name) for name in stored(schemes, decided.context.folded)}

    def cost(width: Width, members: tuple[str, ...]) -> int:
        return sum(elements[name] * bits_of(width.tensors[name].scheme) for name in members if name in elements)

    ours = {name for members in found.units.values() for name in members}
    fixed = sum(count * bits_of(schemes[name]) for name, count in elements.items() if name not in ours)
    units = {unit: {w.words: cost(w, members) for w in found.choices} for unit, members in found.units.items()}
    return Costs(ACTIVATION_BITS, units, fixed, max(1, sum(elements.values())), FLOAT_BITS)


def _elements(spec: Allocate, decided: Decisions, name: str) -> int:
    known = size(decided.context.view, name)
    if known is None:
        raise _unknown(spec, f"how many elements `{name[:80]}` has is not known")
    return known


def _operations(spec: Allocate, decided: Decisions, found: Widths) -> Costs:
    unit_of = {name: unit for unit, members in found.units.items() for name in members}
    rest = {each.tensor: bits_of(each.scheme) for each in decided.plan.tensors if each.tensor not in unit_of}
    units = {unit: dict.fromkeys((width.words for width in found.choices), 0) for unit in found.units}
    fixed = floats = 0
    plan, view = found.choices[0].decisions.plan, decided.context.view
    for product in products(plan, view):
        if product.macs is None:
            raise _unknown(spec, f"how often `{product.node[:80]}` multiplies is not known")
        floats += product.macs * FLOAT_BITS * FLOAT_BITS
        open_ = tuple(dict.fromkeys(_units(spec, product, unit_of)))
        if not open_:
            fixed += product.macs * _bits_in(product, rest)
        for width in found.choices if open_ else ():
            widths = {name: bits_of(plan.scheme) for name, plan in width.tensors.items()} | rest
            units[open_[0]][width.words] += product.macs * _bits_in(product, widths)
    return Costs(BOPS, units, fixed, 1, floats)


def _units(spec: Allocate, product: Product, unit_of: Mapping[str, str]) -> Iterator[str]:
    """The units that the factors belong to. Raises QdslError allocate-bound for two: their product is no sum."""
    read = (each for each in (product.one, product.other) if isinstance(each, str))
    found = dict.fromkeys(unit_of[each] for each in read if each in unit_of)
    if len(found) > 1:
        one, two = found
        headline = f"`{product.node[:80]}` multiplies two activations: its `bops` are no sum over their widths"
        help = ("bound `activation_bits`", f'or decide one by a rule: `layers tensor "{two}" {{ activations 8 bit }}`')
        raise QdslError([Diagnostic("allocate-bound", headline, spec.header, f"`{one}` and `{two}`", help)])
    return iter(found)


def _bits_in(product: Product, widths: Mapping[str, int]) -> int:
    one, other = (widths[each] if isinstance(each, str) else each for each in (product.one, product.other))
    return one * other


def _unknown(spec: Allocate, headline: str) -> QdslError:
    help = ('fix the free dimensions: `input "NAME" { shape [..] }`',)
    return QdslError([Diagnostic("allocate-shape", headline, spec.header, help=help)])
