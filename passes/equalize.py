"""Give the channels between two layers weights of alike ranges: what one writes is divided, and multiplied behind.

    behind(f(before(x)))  =  (behind * s)(f((before / s)(x)))        with s > 0 per channel, and f(x / s) = f(x) / s

Weights with one scale for all channels then lose less to rounding (Nagel et al. 2019, Data-Free Quantization Through
Weight Equalization and Bias Correction, section 4.1). Fires on pairs of Conv, ConvTranspose and Gemm with constant
weights, chains of them included, with nothing between that a scale would not pass through (`channel_links`). The least
s of a pair is 1, so no value grows, and ranges by hand stay right. The arithmetic is float64 and is cast once.

    Clip(x, 0, c)  ->  Relu(Clip(x' + t, 0, c) - t)        x' = x / s, t = c - c / s

Behind a Clip each channel has an upper bound of its own. A tensor has one; so each channel is shifted until its bound
is that one, and shifted back. The Clip and the Relu are what a QuantizeLinear does of itself, the subtraction has an
integer kernel; c / s is a multiple of c / 255, so that it adds no rounding in 8 bits. Where that would win less than a
bit for every channel of the pair, the pair is left alone.
Refuses where channels are read elsewhere, padded with anything but zeros, bounded otherwise or not known apart.
Guarantees that nodes keep their names and outputs; what is computed is the same, to the rounding of floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import Array, Lazy, lazy_of
from qdsl.graph.dtypes import numpy_type
from qdsl.graph.edit import add_constant, add_deferred, add_node, exchange_outputs, replace_input
from qdsl.graph.model import Model
from qdsl.passes.channel_links import ChannelLink, link_from
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.passes.output_channels import groups_of
from qdsl.quant.equalizing import Link, Values, factors, layer_of
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite

_STEPS = 255  # of 8 bits between 0 and the largest value
_WORTH = 2.0  # the least ratio of two factors for which channels behind a Clip are shifted: one bit
_COMPUTED_NOW = 2**20  # bytes of weights in float64; larger ones are deferred
_BROKEN, _EVEN_NOW = "or those of {} are not finite", "and those of {} are even enough"
_EVEN = 1.25  # the least ratio for other pairs: ranges closer than that round alike


class _Scales(NamedTuple):
    """What the inputs [inputs] of a layer are multiplied by, its outputs [outputs] divided by, and then shifted by."""

    inputs: Values | None = None
    outputs: Values | None = None
    shift: Values | None = None


class _Layout(NamedTuple):
    """Where channels are: a Conv has [O, I/g, ...], a ConvTranspose [I, O/g, ...], a Gemm [O, I] or [I, O]."""

    groups: int
    inputs_first: bool

    @staticmethod
    def of(node: gs.Node) -> _Layout:
        return _Layout(1 if node.op == "Gemm" else int(node.attrs.get("group", 1)), bool(groups_of(node)))

    def by_channel(self, weights: Array) -> Array:
        """Weights as [groups, outputs / groups, inputs / groups, elements], in the memory of the given ones."""
        shape = weights.shape
        split = weights.reshape(self.groups, shape[0] // self.groups, shape[1], prod(shape[2:]))
        return split.swapaxes(1, 2) if self.inputs_first else split

    def scaled(self, value: Lazy, scales: _Scales) -> Array:
        weights = value.load()
        wide = weights.astype(np.float64, order="C")
        split = self.by_channel(wide)
        groups, outputs, inputs, _ = split.shape
        if scales.inputs is not None:
            split *= scales.inputs.reshape(groups, 1, inputs, 1)
        if scales.outputs is not None:
            split /= scales.outputs.reshape(groups, outputs, 1, 1)
        return wide.astype(weights.dtype)


@dataclass(frozen=True, slots=True)
class Equalize(Rewrite):
    """No options."""

    name: ClassVar[str] = "equalize"
    summary: ClassVar[str] = "give the channels between two layers weights of alike ranges"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        scales: dict[int, _Scales] = {}
        nodes: dict[int, gs.Node] = {}
        for link, s in _worthwhile(_links(model, changes), changes):
            changes.fire("equalize_pair" if link.clip is None else "equalize_clipped_pair", link.names)
            nodes |= {id(node): node for node in (link.before, link.behind)}
            before, behind = (scales.get(id(node), _Scales()) for node in (link.before, link.behind))
            shift = None if link.clip is None else link.upper - link.upper / s
            scales[id(link.before)] = before._replace(outputs=s, shift=shift)
            scales[id(link.behind)] = behind._replace(inputs=np.repeat(s, link.repeat))
            if link.clip is not None and shift is not None:
                _bounded_apart(model, link.clip, shift, _rank(link.before))
        for key, node in nodes.items():
            _scale(model, node, scales[key])
        return changes.outcome()


def _links(model: Model, changes: Changes) -> list[ChannelLink]:
    """Every link, in the order of the graph; near misses go to `changes`."""
    view, found = model.view(), []
    for node in model.nodes():
        link = link_from(model, view, node)
        if isinstance(link, str):
            changes.refuse(node.name, link)
        elif link is not None:
            found.append(link)
    return found


def _worthwhile(links: list[ChannelLink], changes: Changes) -> list[tuple[ChannelLink, Values]]:
    """Those links that gain by it, with their factors; the others go to `changes`."""
    nodes = {id(node): node for link in links for node in (link.before, link.behind)}
    layers = [layer_of(_Layout.of(node).by_channel(lazy_of(node.inputs[1]).load())) for node in nodes.values()]
    at = {key: number for number, key in enumerate(nodes)}
    finite = {key for key, layer in zip(nodes, layers, strict=True) if np.isfinite(layer.largest).all()}
    links = _kept(links, {id(link) for link in links if {id(link.before), id(link.behind)} <= finite}, changes, _BROKEN)
    while True:
        numbered = [Link(at[id(link.before)], at[id(link.behind)], link.repeat) for link in links]
        solved = [_stepped(link, s) for link, s in zip(links, factors(layers, numbered), strict=True)]
        pairs = [pair for pair in zip(links, solved, strict=True) if _gains(*pair)]
        if len(pairs) == len(links):
            return pairs
        links = _kept(links, {id(link) for link, _ in pairs}, changes, _EVEN_NOW)


def _kept(links: list[ChannelLink], keep: set[int], changes: Changes, reason: str) -> list[ChannelLink]:
    """Those of `links` in `keep`; the others are refused for the reason."""
    for link in links:
        if id(link) not in keep:
            changes.refuse(link.before.name, f"its weights {reason.format(link.behind.name)}")
    return [link for link in links if id(link) in keep]


def _gains(link: ChannelLink, s: Values) -> bool:
    return bool(s.max(initial=1) / s.min(initial=1) >= (_EVEN if link.clip is None else _WORTH))


def _stepped(link: ChannelLink, s: Values) -> Values:
    """Behind a Clip, the nearest factors that leave its bound a whole number of steps."""
    return s if link.clip is None else _STEPS / np.maximum(np.rint(_STEPS / s), 1)


def _scale(model: Model, node: gs.Node, scales: _Scales) -> None:
    """Give a layer its own weights and bias, scaled."""
    weights, layout = node.inputs[1], _Layout.of(node)
    value, name = lazy_of(weights), f"{weights.name}_equalized"
    bias = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
    if prod(value.shape) * 8 <= _COMPUTED_NOW:
        replace_input(model, node, 1, add_constant(model, name, layout.scaled(value, scales)))
    else:
        made = add_deferred(model, name, value.element_type, value.shape, lambda: layout.scaled(value, scales))
        replace_input(model, node, 1, made)
    if scales.outputs is None or (bias is None and scales.shift is None):
        return
    moved = np.zeros(scales.outputs.size) if bias is None else lazy_of(bias).load().astype(np.float64).reshape(-1)
    moved = moved / scales.outputs + (0.0 if scales.shift is None else scales.shift)
    called = f"{weights.name}_bias" if bias is None else bias.name
    moved = moved.astype(numpy_type(value.element_type))
    replace_input(model, node, 2, add_constant(model, f"{called}_equalized", moved))


def _rank(layer: gs.Node) -> int:
    """Of what a layer writes: its shape may be unknown."""
    return 2 if layer.op == "Gemm" else len(lazy_of(layer.inputs[1]).shape)


def _bounded_apart(model: Model, clip: gs.Node, shift: Values, rank: int) -> None:
    """Let channels that were shifted before a Clip, of what has `rank`, come back behind it."""
    written: Any = clip.outputs[0]
    kind = numpy_type(written.dtype) if isinstance(written.dtype, int) else np.dtype(written.dtype or np.float32)
    back = (-shift).reshape(1, -1, *[1] * (rank - 2)).astype(kind)
    low = add_node(model, "Relu", [None], 1, name=f"{clip.name}_low", like=written)
    exchange_outputs(model, clip, low)
    constant = add_constant(model, f"{clip.name}_shift", back)
    add = add_node(model, "Add", [clip.outputs[0], constant], 1, name=f"{clip.name}_shift", like=written)
    replace_input(model, low, 0, add.outputs[0])
