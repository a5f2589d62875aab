"""Inside the graph: what each rounding adds by itself, and what arrives at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.typing import NDArray

from qdsl.causes.errors import lost
from qdsl.causes.running import Arrays, Variants, loaded
from qdsl.causes.switching import Member, Switch, Switched
from qdsl.finished.records import Role
from qdsl.graph import Model
from qdsl.graph.edit import add_node
from qdsl.graph.meta import meta_of
from qdsl.graph.moves import MOVES
from qdsl.spec.threads import in_order, processors
from qdsl.targets.agreement import Agreement

# Bytes of float tensors that one run may hand over at once, and of one whose size is not known.
_LARGEST_CHUNK = 1 << 27
_UNKNOWN_BYTES = 1 << 22

Heard = Callable[[int, int], None]
Values = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class Local:
    """Of one tensor: `own` is the rounded value of the float model's tensor against that tensor, `inherited` the value
    that arrives in the quantized model against it (nothing is added for constants). `rank` is how much is lost, as
    `errors.lost` has it on the first sample: of a weight where its node writes."""

    own: Agreement = field(default_factory=Agreement)
    inherited: Agreement = field(default_factory=Agreement)
    rank: float = 0.0

    def merge(self, part: Local) -> None:
        self.own.merge(part.own)
        self.inherited.merge(part.inherited)
        self.rank = max(self.rank, part.rank)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What is read for one tensor, the member at `place` of the switch of `flag`: `written` is what the node that reads
    a weight writes, and what it writes on the rounded weight; None for activations."""

    flag: str
    place: int
    member: Member
    constant: bool
    written: tuple[str, str] | None


def locals_of(switched: Switched, samples: Sequence[Arrays], heard: Heard) -> tuple[dict[str, list[Local]], int]:
    """What is known inside the graph, by flag and member, and how many runs that took: for each sample two per chunk of
    tensors that fit in memory together. `heard` is told of samples, done of all."""
    model = switched.model.copy()
    nodes = {node.name: node for node in model.nodes()}
    looked = [
        _Looked(each.flag, place, member, each.role is not Role.ACTIVATION, _written(model, nodes, each, member))
        for each in switched.switches
        for place, member in enumerate(each.members)
    ]
    found = {each.flag: [Local() for _ in each.members] for each in switched.switches}
    chunks, done = list(_chunks(model, looked)), 0
    for chunk in chunks:
        with loaded(switched, _names(model, chunk), model) as variants:

            def seen(first: bool, arrays: Arrays, chunk: list[_Looked] = chunk, by: Variants = variants) -> list[Local]:
                return _sample(switched, by, chunk, arrays, model, first)

            asked = [partial(seen, place == 0, arrays) for place, arrays in enumerate(samples)]
            # Two samples at most: whole activations are in memory.
            for parts in in_order(_call, asked, min(2, processors()), ahead=2, name="qdsl-causes"):
                for each, part in zip(chunk, parts, strict=True):
                    found[each.flag][each.place].merge(part)
                done += 1
                heard(done, len(chunks) * len(samples))
    return found, 2 * done


def _call(asked: Callable[[], list[Local]]) -> list[Local]:
    return asked()


def _written(model: Model, nodes: Mapping[str, Any], switch: Switch, member: Member) -> tuple[str, str] | None:
    """For a weight the tensor that its node writes, and what a copy of the node writes on the rounded weight."""
    for name, port in () if switch.role is Role.ACTIVATION else member.readers:
        node = nodes.get(name)
        if node is None or node.op in MOVES or meta_of(node).captured or port >= len(node.inputs):
            continue
        inputs = [each if each.name else None for each in node.inputs]
        inputs[port] = model.tensor(member.after)
        like, called = node.outputs[0], f"{name}.rounded"
        made = add_node(model, node.op, inputs, name=called, attrs=node.attrs, domain=node.domain, like=like)
        return like.name, made.outputs[0].name
    return None


def _sample(
    switched: Switched, variants: Variants, chunk: Sequence[_Looked], arrays: Arrays, model: Model, first: bool
) -> list[Local]:
    floats = variants.run(arrays, ())
    found = [Local() for _ in chunk]
    exact: dict[int, NDArray[Any]] = {}
    for place, (each, one) in enumerate(zip(chunk, found, strict=True)):
        before, after = _before(model, each.member, arrays, floats), floats[each.member.after]
        if not each.constant:
            exact[place] = before
        one.own.add(before, after)
        if first:
            one.rank = lost(before, after) if each.written is None else lost(*(floats[n] for n in each.written))
    del floats
    rounded = variants.run(arrays, switched.every)
    for place, expected in exact.items():
        found[place].inherited.add(expected, _before(model, chunk[place].member, arrays, rounded))
    return found


def _before(model: Model, member: Member, arrays: Arrays, values: Values) -> NDArray[Any]:
    """What is rounded: an inner tensor, a graph input or a constant."""
    if member.before in values:
        return values[member.before]
    if member.before in arrays:
        return arrays[member.before]  # type: ignore[no-any-return]
    return model.values(member.before)


def _names(model: Model, chunk: Sequence[_Looked]) -> list[str]:
    """The inner tensors to be read for a chunk."""
    names = [name for each in chunk for name in (each.member.before, each.member.after, *(each.written or ()))]
    inner = {name for name in names if (tensor := model.tensor(name)) is not None and tensor.inputs}
    return [name for name in dict.fromkeys(names) if name in inner]


def _chunks(model: Model, looked: Sequence[_Looked]) -> Iterator[list[_Looked]]:
    """`looked` in lists whose tensors fit in memory together."""
    here: list[_Looked] = []
    taken = 0
    for each in looked:
        size = sum(_bytes(model, name) for name in _names(model, [each]))
        if here and taken + size > _LARGEST_CHUNK:
            yield here
            here, taken = [], 0
        here.append(each)
        taken += size
    if here:
        yield here


def _bytes(model: Model, name: str) -> int:
    shape = getattr(model.tensor(name), "shape", None)
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return _UNKNOWN_BYTES
    size = 4
    for dim in shape:
        size *= dim
    return size
