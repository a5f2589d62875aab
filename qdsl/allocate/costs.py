"""What groups cost in integers and in float, as a function of the labels: milliseconds where this machine runs the
target, else a count of what is computed in float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdsl.allocate.cut import Costs
from qdsl.allocate.units import INTEGER, Groups
from qdsl.targets.results import LayerTimes

_CONVERTS = 4e-7  # milliseconds an element, where no build has shown it
_TRIFLE = 1e-6  # of a multiplication, for a conversion: of choices that are alike else, the one with fewer


@dataclass(frozen=True, slots=True)
class Table:
    """By group what it costs in (integers, float), and by element what a conversion does, in (`unit`)."""

    groups: tuple[tuple[float, float], ...]
    quantize: float
    dequantize: float
    unit: str


def timed(groups: Groups, integers: LayerTimes, floats: LayerTimes, whole: tuple[float, float] | None = None) -> Table:
    """From what the nodes take in the build with every group in integers, and in the float model. `whole` are the
    milliseconds of running either: kernels alone leave out what lies between them, which is more in one than in the
    other, so that each kernel gets its share of it."""
    of_integers, of_floats = (1.0, 1.0) if whole is None else (_scale(integers, whole[0]), _scale(floats, whole[1]))

    def taken(times: Mapping[str, float], nodes: tuple[str, ...], scale: float) -> float:
        return scale * sum(times.get(name, 0.0) for name in nodes)

    each = tuple(
        (taken(integers.nodes, g.nodes, of_integers), taken(floats.nodes, g.nodes, of_floats)) for g in groups.groups
    )
    quantize = of_integers * (integers.each_quantize or _CONVERTS)
    return Table(each, quantize, of_integers * integers.each_dequantize if integers.each_dequantize else quantize, "ms")


def least(one: LayerTimes, other: LayerTimes) -> LayerTimes:
    """Of two measurements of a build, for each node the one that fewer other programs were in the way of."""
    nodes = {name: min(taken, other.nodes.get(name, taken)) for name, taken in one.nodes.items()}
    beside = [each.total - sum(each.nodes.values()) for each in (one, other) if each.total is not None]
    quantize, dequantize = (
        min((rate for rate in rates if rate is not None), default=None)
        for rates in ((one.each_quantize, other.each_quantize), (one.each_dequantize, other.each_dequantize))
    )
    total = sum(nodes.values()) + min(beside) if beside else None
    return LayerTimes(nodes, quantize, dequantize, total)


def _scale(times: LayerTimes, whole: float) -> float:
    return whole / times.total if times.total else 1.0


def counted(groups: Groups) -> Table:
    """Multiplications that run in float, where nothing here tells more."""
    return Table(tuple((0.0, float(group.macs)) for group in groups.groups), _TRIFLE, _TRIFLE, "MACs in float")


def sized(groups: Groups, more: Mapping[str, float]) -> Table:
    """Bytes that weights take more where they are not as `quantize` says; `more` has those of a node."""
    each = tuple((0.0, max(0.0, sum(more.get(name, 0.0) for name in group.nodes))) for group in groups.groups)
    return Table(each, _TRIFLE, _TRIFLE, "bytes more")


def costs(groups: Groups, table: Table) -> Costs:
    """The labels' costs, True for float: what each group takes, and conversions where neighbours differ."""
    labels = [list(pair) for pair in table.groups]
    apart: dict[tuple[int, int], float] = {}
    either = (table.quantize + table.dequantize) / 2
    for each in groups.crossings:
        for reader in each.readers:
            pair = (each.writer, reader)
            if min(pair) >= 0:
                key = (min(pair), max(pair))
                apart[key] = apart.get(key, 0.0) + either * each.elements
            elif each.writer >= 0:
                label = int(reader == INTEGER)
                labels[each.writer][label] += (table.dequantize, table.quantize)[label] * each.elements
            else:
                label = int(each.writer == INTEGER)
                labels[reader][label] += (table.quantize, table.dequantize)[label] * each.elements
    return Costs([(one, two) for one, two in labels], apart)
