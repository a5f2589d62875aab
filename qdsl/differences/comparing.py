"""What two sides say differently. Nothing is looked up here: two sides in, one difference out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import inf, isfinite, isnan

from qdsl.differences.side import Node, Side, Tensor, Weight

LEAST_MOVE = 0.01  # a scale that moves by less is not told


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node that runs otherwise, that only one side has (the other None), or that is another operator, has other
    attributes or reads from elsewhere."""

    node: str
    before: Node | None
    after: Node | None

    @property
    def what(self) -> str:
        """ "new", "gone", "precision", or "computes" where only attributes or sources differ."""
        if self.before is None or self.after is None:
            return "new" if self.before is None else "gone"
        same = str(self.before) == str(self.after) and self.before.op == self.after.op
        return "computes" if same else "precision"

    @property
    def details(self) -> tuple[str, ...]:
        """Attributes and sources that differ, each in words; none of a node that only one side has."""
        if self.before is None or self.after is None:
            return ()
        return (*_attributes(self.before, self.after), *_sources(self.before, self.after))


def _attributes(before: Node, after: Node) -> Iterator[str]:
    old, new = dict(before.attributes), dict(after.attributes)
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name} {old.get(name, 'not written')} -> {new.get(name, 'not written')}"


def _sources(before: Node, after: Node) -> Iterator[str]:
    for port, (old, new) in enumerate(zip_longest(before.sources, after.sources, fillvalue="")):
        if old != new:
            yield f"port {port} reads {new or 'nothing'}, not {old or 'nothing'}"


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor whose Q/DQ differ. `what` is "gained", "lost", "scheme", "readers" or "shares"; the texts say it."""

    tensor: str
    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A scale that moved: by the share `by` of what it was (0.2: 20 %), at its worst channel, where it is `before` and
    `after`; infinite where the numbers of scales differ, which stand there then. A range moves by a share of its widest
    value, and `before` and `after` are its two ends. `of` is "tensor", "weight" or "range"; `zeros` are the zero
    points where these differ."""

    name: str
    of: str
    by: float
    before: tuple[float, ...]
    after: tuple[float, ...]
    zeros: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class WeightChange:
    """A weight with another scheme, or other stored values under the same."""

    weight: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything in which `after` differs from `before`. `kept` counts the weights that are stored as they were, None
    where one side does not know; `unsized` is True where a side has no size. `least` is the share below which moved
    scales are left out; `small` counts those."""

    before: Side
    after: Side
    statements: tuple[str, ...]
    nodes: tuple[NodeChange, ...]
    tensors: tuple[TensorChange, ...]
    moved: tuple[Moved, ...]
    weights: tuple[WeightChange, ...]
    kept: int | None
    small: int
    least: float

    @property
    def equal(self) -> bool:
        """Whether nothing is told; scales may have moved by less than `least`."""
        return not (self.statements or self.nodes or self.tensors or self.moved or self.weights) and self._same_size

    @property
    def _same_size(self) -> bool:
        return self.before.size == self.after.size or self.before.foreseen != self.after.foreseen


def compare(before: Side, after: Side, least: float = LEAST_MOVE) -> Difference:
    """What `after` says otherwise than `before`. Parts that only one of them can have (a lock has no nodes) are left
    out. `least` as in `Difference`."""
    moves = [*_moved_tensors(before, after), *_moved_weights(before, after)]
    told = sorted((m for m in moves if m.by >= least or m.zeros), key=lambda m: (-m.by, m.name))
    return Difference(
        before=before,
        after=after,
        statements=tuple(_statements(before, after)),
        nodes=tuple(_nodes(before, after)),
        tensors=tuple(_tensors(before, after)),
        moved=tuple(told),
        weights=tuple(_weights(before, after)),
        kept=_kept(before, after),
        small=len(moves) - len(told),
        least=least,
    )


def _statements(before: Side, after: Side) -> Iterator[str]:
    """`- line` and `+ line`, where both sides are of one kind."""
    if before.kind != after.kind:
        return
    found = difflib.unified_diff(before.lines, after.lines, n=0, lineterm="")
    for line in found:
        if not line.startswith(("---", "+++", "@@")):
            yield f"{line[0]} {line[1:].strip()}"


def _names(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Names of both, in the order of the first, then those that are new."""
    return [*before, *(name for name in after if name not in before)]


def _nodes(before: Side, after: Side) -> Iterator[NodeChange]:
    if not before.nodes or not after.nodes:
        return
    for name in _names(before.nodes, after.nodes):
        old, new = before.nodes.get(name), after.nodes.get(name)
        if old != new:
            yield NodeChange(name, old, new)


def _tensors(before: Side, after: Side) -> Iterator[TensorChange]:
    if not before.nodes or not after.nodes:
        return
    for name in _names(before.tensors, after.tensors):
        old, new = before.tensors.get(name), after.tensors.get(name)
        if old is None and new is not None:
            yield TensorChange(name, "gained", "", new.scheme)
        elif old is not None and new is None:
            yield TensorChange(name, "lost", old.scheme, "")
        elif old is not None and new is not None:
            yield from _tensor(name, old, new)


def _tensor(name: str, old: Tensor, new: Tensor) -> Iterator[TensorChange]:
    if old.scheme != new.scheme:
        yield TensorChange(name, "scheme", old.scheme, new.scheme)
    if old.readers != new.readers:
        yield TensorChange(name, "readers", _only(old.readers, new.readers), _only(new.readers, old.readers))
    if old.shares != new.shares:
        yield TensorChange(name, "shares", ", ".join(old.shares), ", ".join(new.shares))


def _only(some: Sequence[str], others: Sequence[str]) -> str:
    return ", ".join(one for one in some if one not in others)


def _moved_tensors(before: Side, after: Side) -> Iterator[Moved]:
    for name, old in before.tensors.items():
        new = after.tensors.get(name)
        if new is None:
            continue
        yield from _range(name, old, new)
        if old.scheme == new.scheme and old.scales and new.scales:
            yield from _moved(name, "tensor", old.scales, new.scales, _zeros(old, new))


def _range(name: str, old: Tensor, new: Tensor) -> Iterator[Moved]:
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return
    was, now = (old.low, old.high), (new.low, new.high)
    if was != now:
        widest = max(map(abs, (*was, old.high - old.low)))
        by = max(abs(a - b) for a, b in zip(was, now, strict=True)) / widest if widest else inf
        yield Moved(name, "range", by, was, now)


def _zeros(old: Tensor, new: Tensor) -> tuple[int, int] | None:
    return next((pair for pair in zip(old.zeros, new.zeros, strict=False) if pair[0] != pair[1]), None)


def _moved_weights(before: Side, after: Side) -> Iterator[Moved]:
    for name, old in before.weights.items():
        new = after.weights.get(name)
        if new is not None and old.scheme == new.scheme and old.scales:
            yield from _moved(name, "weight", old.scales, new.scales, None)


def _moved(
    name: str, of: str, old: Sequence[float], new: Sequence[float], zeros: tuple[int, int] | None
) -> Iterator[Moved]:
    """The move of the value that moved most, if any did."""
    if len(old) != len(new):
        yield Moved(name, of, inf, (float(len(old)),), (float(len(new)),), zeros)
        return
    shares = [_share(a, b) for a, b in zip(old, new, strict=True)]
    worst = max(range(len(shares)), key=shares.__getitem__, default=None)
    if worst is not None and (shares[worst] > 0 or zeros):
        yield Moved(name, of, shares[worst], (old[worst],), (new[worst],), zeros)


def _share(old: float, new: float) -> float:
    if old == new or (isnan(old) and isnan(new)):
        return 0.0
    share = abs(new - old) / abs(old) if old else inf
    return share if isfinite(share) else inf


def _weights(before: Side, after: Side) -> Iterator[WeightChange]:
    if not before.nodes or not after.nodes:
        return
    for name in _names(before.weights, after.weights):
        old, new = before.weights.get(name), after.weights.get(name)
        if _node_of(name) not in before.nodes or _node_of(name) not in after.nodes:
            continue  # told with its node
        if old is None or new is None or old.scheme != new.scheme:
            yield WeightChange(name, old.scheme if old else "", new.scheme if new else "")
        elif old.digest and new.digest and old.digest != new.digest:
            yield WeightChange(name, old.scheme, f"{new.scheme}, other values")


def _node_of(weight: str) -> str:
    return weight.rpartition(":")[0]


def _kept(before: Side, after: Side) -> int | None:
    both = [(old, after.weights[name]) for name, old in before.weights.items() if name in after.weights]
    if not both or not all(_known(old) and _known(new) for old, new in both):
        return None
    return sum(old.digest == new.digest and old.scheme == new.scheme for old, new in both)


def _known(weight: Weight) -> bool:
    return bool(weight.digest)
