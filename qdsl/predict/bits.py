"""What the widths of activations come to over a whole plan: the bits that hold them, and bit operations.

Both are sums over tensors, which is what mixed precision is chosen under: the bits that all activations take
together (Uhlich et al., Mixed Precision DNNs: All you need is a good parametrization, 2020), and BOPs,
multiplications times the bits of both factors (Baskin et al., UNIQ: Uniform Noise Injection for Non-Uniform
Quantization of Neural Networks, 2018; without its additions, as Yao et al., HAWQ-V3, 2021, and van Baalen et al.,
Bayesian Bits, 2020, count them). A width that is emulated counts as the width: what hardware of it would take, not
the wider type that it is emulated in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction

from qdsl.graph.view import GraphView
from qdsl.predict.macs_shapes import size
from qdsl.spec import Scheme
from qdsl.spec.plan import AS_IT_IS, Plan

FLOAT_BITS, HALF_BITS = 32, 16
Factor = str | int  # a tensor that is read through a pair, or the bits of what has no such tensor
# By what a layer writes, what the activation makes of it that folds into the layer (`qdsl.plan.context`).
Folded = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Product:
    """The multiplications of one node; `macs` None where they are not known."""

    node: str
    macs: int | None
    one: Factor
    other: Factor


@dataclass(frozen=True, slots=True)
class Bits:
    """What the widths of a plan come to: the bits of a quantized `activation`, the mean over all elements, and bit
    `operations`. None: not known."""

    activation: float | None = None
    operations: int | None = None


UNKNOWN = Bits()


def bits_of(scheme: Scheme) -> int:
    """The width of a scheme: the one that is emulated, where one is."""
    return scheme.emulated_bits or scheme.dtype.bits


def stored(tensors: Collection[str], folded: Folded) -> tuple[str, ...]:
    """Of the tensors with a pair those that memory would hold where widths were real, by name. What a layer
    writes into an activation (Relu, Clip) that folds into it is none: it has a pair beside that of the activation
    where a width is emulated, since the stored type goes beyond the range that would make the activation needless."""
    return tuple(name for name in sorted(tensors) if folded(name) not in tensors)


def products(plan: Plan, view: GraphView, otherwise: Collection[str] = ()) -> Iterator[Product]:
    """The multiplications of a plan with what their factors are. What computes in float counts 32 bits a factor, or
    16. Of the nodes that run `otherwise` those that were to multiply integers multiply floats, and the other way
    round."""
    tensors = {each.tensor: each for each in plan.tensors}
    weights = {(each.node, each.port): bits_of(each.scheme) for each in plan.weights}
    halves = {each.node for each in plan.halves if each.writes}
    for node in plan.nodes:
        if node.macs == 0:
            continue
        if node.in_integers == (node.node in otherwise):
            floats = HALF_BITS if node.node in halves else FLOAT_BITS
            yield Product(node.node, node.macs, floats, floats)
            continue
        read: list[Factor] = []
        for port, name in enumerate(view.node(node.node).inputs[:2]):
            pair = tensors.get(name)
            through = pair is not None and pair.read_by(node.node, port)
            read.append(name if through else weights.get((node.node, port), FLOAT_BITS))
        yield Product(node.node, node.macs, read[0], read[1])


def mean_bits(plan: Plan, view: GraphView, folded: Folded) -> float | None:
    """The bits of a quantized activation, the mean over all elements; None where a shape is not known, or nothing is
    quantized."""
    schemes = {each.tensor: each.scheme for each in plan.tensors}
    names = stored(schemes, folded)
    sizes = [size(view, name) for name in names]
    known = [each for each in sizes if each is not None]
    if len(known) < len(sizes) or not sum(known):
        return None
    total = sum(each * bits_of(schemes[name]) for name, each in zip(names, known, strict=True))
    return float(Fraction(total, sum(known)))


def bit_operations(plan: Plan, view: GraphView, otherwise: Collection[str] = ()) -> int | None:
    """The BOPs of a plan; None where the multiplications of a node are not known. `otherwise` is as in `products`."""
    widths = {each.tensor: bits_of(each.scheme) for each in plan.tensors}
    total = 0
    for each in products(plan, view, otherwise):
        if each.macs is None:
            return None
        one, other = (widths[f] if isinstance(f, str) else f for f in (each.one, each.other))
        total += each.macs * one * other
    return total


def bits(plan: Plan, view: GraphView, folded: Folded, otherwise: Collection[str] = ()) -> Bits:
    """What the widths of a plan come to; nothing is known of a file that stays as it is, since no width of it was
    planned. `otherwise` is as in `products`."""
    if plan.mode == AS_IT_IS:
        return UNKNOWN
    return Bits(mean_bits(plan, view, folded), bit_operations(plan, view, otherwise))
